"""One picture of any kind that Pillow reads, brought to grey and to a common size."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distlenet.errors import DataError, UsageError, missing_extra

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 100_000_000  # of a picture; more is a mistake, or meant to fill the memory


def read_image(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Return the picture ``path`` in grey as uint8 (rows, columns) = ``size``.

    It is turned as its EXIF data says, put on white where it is transparent, scaled with its proportions kept, and
    centred; what is left at two sides takes the median of its own border. Raises DataError that names the file,
    UsageError without Pillow.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise UsageError(missing_extra("reading pictures", "Pillow", "pictures")) from error
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # on odd metadata and on size, which is checked here
            if image.width * image.height > MOST_PIXELS:
                raise DataError(f"{path} has {image.width} x {image.height} pixels, expected at most {MOST_PIXELS:,}")
            picture = _grey(ImageOps.exif_transpose(image))
    except DataError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # a broken file can make a decoder raise anything
        reason = "its format is unknown" if type(error).__name__ == "UnidentifiedImageError" else str(error)
        raise DataError(f"{path} is not a readable picture: {reason}; mend or remove it") from error
    rows, columns = size
    if picture.size == (columns, rows):
        return np.asarray(picture)
    pixels = np.asarray(picture)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return np.asarray(ImageOps.pad(picture, (columns, rows), Image.Resampling.LANCZOS, int(np.median(border))))


def _grey(image: "Image") -> "Image":
    """Return ``image`` in mode L, 8 bits of grey."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":  # Pillow would cut these off at 255
        pixels = np.asarray(image, np.float64)
        scale = 1.0 if pixels.max(initial=0) <= 255 else 255 / 65535
        return Image.fromarray((pixels * scale).clip(0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("L")
