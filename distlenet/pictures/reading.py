"""Picture files to arrays: any format and mode, turned the right way up, transparent parts filled in."""

import os
import warnings
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from distlenet.errors import PictureError, UsageError

LARGEST = 64_000_000  # pixels: more than a phone takes; a small file can claim far more
WORKING = 448  # pixels along the longer side that the rest works with
NEEDS_PROGRAM = ("EPS",)  # formats that Pillow hands to another program


@dataclass(frozen=True)
class Picture:
    """A picture as the rest of the room works with it."""

    colours: np.ndarray  # (rows, columns, 3) float32, 0 to 1
    scale: float  # pixels of the file for each of ours


def read_picture(file: str | os.PathLike[str] | BinaryIO, largest: int = LARGEST) -> Picture:
    """Read a picture from a path or an open file.

    Raises PictureError where it is no picture, is damaged, has more than LARGEST pixels, or would take more than
    ``largest`` in memory: up to 16 bytes each. JPEG is decoded at a smaller size.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise UsageError("reading pictures needs Pillow: install distlenet[pictures]") from error
    name = file if isinstance(file, str | os.PathLike) else "the picture"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the metadata, for example; too many pixels are our own error
            with Image.open(file) as image:
                _check(name, image.format, image.size, LARGEST)
                longest = max(image.size)
                image.draft("RGB", (WORKING, WORKING))  # JPEG: decode no more than is needed
                _check(name, image.format, image.size, largest)
                turned = ImageOps.exif_transpose(image)
                small = _shrunk(_grey(turned) if turned.mode[0] in "IF" else _filled(turned))
    except PictureError:
        raise
    except FileNotFoundError as error:
        raise PictureError(f"there is no picture {name}") from error
    except Image.UnidentifiedImageError as error:
        raise PictureError(f"{name} is not a picture of a known format") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name} has too many pixels, expected at most {LARGEST:,}") from error
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PictureError(f"{name} is not a readable picture ({reason})") from error
    return Picture(small, longest / max(small.shape))


def _check(name: object, kind: str | None, size: tuple[int, int], largest: int) -> None:
    if kind in NEEDS_PROGRAM:
        raise PictureError(f"{name} is {kind}, which needs a program of its own: save it as PNG or JPEG")
    if size[0] * size[1] > largest:
        raise PictureError(f"{name} has {size[0]:,} x {size[1]:,} pixels, expected at most {largest:,} in all")
    if min(size) < 4:
        raise PictureError(f"{name} has {size[0]} x {size[1]} pixels, too few to show a digit")


def _grey(image: object) -> object:
    """Return an 8-bit copy of a picture of 16 or 32 bits, its darkest pixel 0 and its brightest 255."""
    from PIL import Image

    values = np.nan_to_num(np.asarray(image, np.float64))
    low, high = values.min(), values.max()
    return Image.fromarray(np.uint8(255 * (values - low) / max(high - low, 1e-9))).convert("RGB")


def _filled(image: object) -> object:
    """Return an RGB copy, on white or on black where it is transparent: on what shows the ink better."""
    from PIL import Image

    if image.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in image.info:
        return image.convert("RGB")
    image = image.convert("RGBA")
    image.thumbnail((2 * WORKING, 2 * WORKING), Image.Resampling.BOX)
    pixels = np.asarray(image, np.float64)
    cover = pixels[..., 3:] / 255
    light = (pixels[..., :3] * cover).sum() / max(3 * cover.sum(), 1e-9)
    paper = Image.new("RGBA", image.size, "white" if light < 128 else "black")
    return Image.alpha_composite(paper, image).convert("RGB")


def _shrunk(image: object) -> np.ndarray:
    """Return (rows, columns, 3) float32, 0 to 1, at most WORKING pixels long."""
    from PIL import Image

    image.thumbnail((WORKING, WORKING), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(image, np.float32) / np.float32(255)
