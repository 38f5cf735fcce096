"""Reads picture files at the working size, and at a finer size for small digits.

Colours become one grey channel along the axis of colour space on which ink and paper differ most. Luminance would lose
red ink on green paper and weaken yellow on white.
"""

import os
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from distlenet.data.sources.picture import NotDecoded, read_pixels
from distlenet.errors import PictureError
from distlenet.pictures.filters import mean_filter, resized, shrunk

WORKING = 448  # working size: pixels along the longer side
SMALLEST = 4  # least number of pixels along the shorter side
SMALL = 160  # pixels along the longer side at which the colour axis is found


@dataclass(frozen=True)
class Picture:
    """A picture at the working size."""

    colours: np.ndarray  # (rows, columns, 3) float32, 0 to 1
    scale: float  # pixels of the file per working pixel
    fine: np.ndarray | None = None  # (rows, columns, 3) uint8: a finer version, if the file has many more pixels
    several: bool = False  # whether the file has more frames; this is the first


def read_picture(file: str | os.PathLike[str] | BinaryIO) -> Picture:
    """Read a picture from a path or an open file.

    Raises PictureError if it is not a picture, is damaged, has too few or too many pixels, or takes too much time or
    memory to decode.
    """
    name = file if isinstance(file, str | os.PathLike) else "the picture"
    try:
        pixels = read_pixels(file)
    except NotDecoded as reason:
        raise PictureError(f"{name} {reason}") from reason
    except FileNotFoundError as error:
        raise PictureError(f"there is no picture {name}") from error
    except IsADirectoryError as error:
        is_run = isinstance(name, str | os.PathLike) and os.path.isdir(os.path.join(name, "checkpoints"))
        advice = "give the run before the pictures" if is_run else "name the files in it"
        raise PictureError(f"{name} is a directory, expected a picture: {advice}") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise PictureError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error
    if pixels.shortest < SMALLEST:
        raise PictureError(f"{name} is {pixels.shortest} pixels wide or high, too few to show a digit")
    return as_picture(pixels.values, pixels.longest, pixels.several)


def as_picture(values: np.ndarray, longest: float, several: bool = False, size: int = WORKING) -> Picture:
    """Return the picture of ``values`` uint8 (rows, columns) or (rows, columns, 3), at most ``size`` pixels long.

    ``longest`` is the longer side of the picture in its file, in pixels.
    """
    from PIL import Image

    image = Image.fromarray(values).convert("RGB")
    fine = np.asarray(image)
    image.thumbnail((size, size), Image.Resampling.BOX)
    colours = np.asarray(image, np.float32) / np.float32(255)
    keep = max(fine.shape) > 1.5 * max(colours.shape)
    return Picture(colours, longest / max(colours.shape), fine if keep else None, several)


def contrasting_grey(colours: np.ndarray) -> np.ndarray:
    """Return (rows, columns) float32 in 0 to 1 for ``colours`` (rows, columns, 3) in 0 to 1.

    The colour axis is the principal axis of the local contrast, the difference between a pixel and its wide
    surroundings. Uneven light varies over even wider areas and does not affect it.
    """
    if all(np.array_equal(colours[..., 0], colours[..., other]) for other in (1, 2)):
        return np.ascontiguousarray(colours[..., 0])
    small = resized(colours, shrunk(colours.shape, SMALL))
    contrast = small - mean_filter(small, max(small.shape[:2]) // 4 | 1)
    contrast = contrast.reshape(-1, 3).astype(np.float64)
    _, axes = np.linalg.eigh(contrast.T @ contrast + 1e-6 * np.ones((3, 3)))  # grey where there is no contrast
    axis = axes[:, -1]
    axis *= 1 if axis.sum() >= 0 else -1
    low, high = axis[axis < 0].sum(), axis[axis > 0].sum()
    return ((colours @ axis - low) / (high - low)).astype(np.float32)
