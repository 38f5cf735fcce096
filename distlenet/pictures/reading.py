"""Picture files to arrays: any format and mode, turned the right way up, transparent parts filled in."""

import os
import warnings
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from distlenet.errors import PictureError, UsageError, missing_extra

LARGEST = 64_000_000  # pixels: more than a phone takes; a small file can claim far more
WORKING = 448  # pixels along the longer side that the rest works with
FINEST = 2000  # the same of what is kept for small digits
NEEDS_PROGRAM = ("EPS",)  # formats that Pillow hands to another program


@dataclass(frozen=True)
class Picture:
    """A picture as the rest of the room works with it."""

    colours: np.ndarray  # (rows, columns, 3) float32, 0 to 1
    scale: float  # pixels of the file for each of ours
    fine: np.ndarray | None = None  # (rows, columns, 3) uint8: the same with more pixels, if the file has many more
    frames: int = 1  # of the file: the picture is the first of them


def read_picture(file: str | os.PathLike[str] | BinaryIO, largest: int = LARGEST) -> Picture:
    """Read a picture from a path or an open file.

    Raises PictureError where it is no picture, is damaged, has more than LARGEST pixels, or would take more than
    ``largest`` in memory: up to 16 bytes each. JPEG is decoded at a smaller size.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise UsageError(missing_extra("reading pictures", "Pillow", "pictures")) from error
    name = file if isinstance(file, str | os.PathLike) else "the picture"
    try:
        fine, longest, frames = _opened(file, name, largest)
    except PictureError:
        raise
    except FileNotFoundError as error:
        raise PictureError(f"there is no picture {name}") from error
    except IsADirectoryError as error:
        raise PictureError(f"{name} is a directory, expected a picture: name the files in it") from error
    except Image.UnidentifiedImageError as error:
        raise PictureError(f"{name} is {_what(file)}") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name} has too many pixels, expected at most {LARGEST:,}") from error
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PictureError(f"{name} is not a readable picture ({reason})") from error
    small = fine.copy()
    small.thumbnail((WORKING, WORKING), Image.Resampling.BOX)
    colours = np.asarray(small, np.float32) / np.float32(255)
    keep = max(fine.size) > 1.5 * max(small.size)
    return Picture(colours, longest / max(small.size), np.asarray(fine) if keep else None, frames)


def _opened(file: str | os.PathLike[str] | BinaryIO, name: object, largest: int) -> tuple[Any, int, int]:
    """Return an RGB picture at most FINEST pixels long, the longer side of the file's, and its number of frames."""
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the metadata, for example; too many pixels are our own error
        with Image.open(file) as image:
            _check(name, image.format, image.size, LARGEST)
            longest, frames = max(image.size), getattr(image, "n_frames", 1)
            image.draft("RGB", (FINEST, FINEST))  # JPEG: decode no more than is needed
            _check(name, image.format, image.size, largest)
            if image.mode in ("L", "RGB", "CMYK"):  # colours that may be averaged before anything else is done
                image.thumbnail((FINEST, FINEST), Image.Resampling.BOX)
            turned = ImageOps.exif_transpose(image)
            fine = _grey(turned) if turned.mode[0] in "IF" else _filled(turned)
            fine.thumbnail((FINEST, FINEST), Image.Resampling.BOX)
            return fine, longest, frames


def _check(name: object, kind: str | None, size: tuple[int, int], largest: int) -> None:
    if kind in NEEDS_PROGRAM:
        raise PictureError(f"{name} is {kind}, which needs a program of its own: save it as PNG or JPEG")
    if size[0] * size[1] > largest:
        raise PictureError(f"{name} has {size[0]:,} x {size[1]:,} pixels, expected at most {largest:,} in all")
    if min(size) < 4:
        raise PictureError(f"{name} has {size[0]} x {size[1]} pixels, too few to show a digit")


def _what(file: str | os.PathLike[str] | BinaryIO) -> str:
    """Return what a file that Pillow does not know is, from its first bytes, and what to do."""
    if isinstance(file, str | os.PathLike):
        with open(file, "rb") as opened:
            head = opened.read(256)
    else:
        file.seek(0)
        head = file.read(256)
    if not head:
        return "empty, expected a picture"
    if head[4:8] == b"ftyp":
        return "HEIC, AVIF or a film, which is not read here: save it as JPEG or PNG"
    if b"<svg" in head or b"%PDF" in head:
        return "SVG or PDF, which is not read here: save it as PNG"
    return "not a picture of a known format: save it as PNG or JPEG"


def _grey(image: Any) -> Any:
    """Return an 8-bit copy of a picture of 16 or 32 bits, its darkest pixel 0 and its brightest 255."""
    from PIL import Image

    values = np.asarray(image)
    step = max(1, max(values.shape) // FINEST)
    rows, columns = (size // step for size in values.shape)
    squares = values[: rows * step, : columns * step].reshape(rows, step, columns, step)
    values = np.nan_to_num(squares.mean(axis=(1, 3), dtype=np.float32))
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(np.uint8(255 * ((values - low) / max(high - low, 1e-9)))).convert("RGB")


def _filled(image: Any) -> Any:
    """Return an RGB picture, on white or on black where it was transparent: on what shows the ink better."""
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
