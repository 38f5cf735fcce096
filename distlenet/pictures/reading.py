"""Picture files as the rest of the room works with them: colours at a working size, finer ones for small digits."""

import os
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from distlenet.data.sources.picture import read_pixels
from distlenet.data.sources.picture_process import NotDecoded
from distlenet.errors import PictureError

WORKING = 448  # pixels along the longer side that the rest works with
SMALLEST = 4  # pixels along the shorter side


@dataclass(frozen=True)
class Picture:
    """A picture as the rest of the room works with it."""

    colours: np.ndarray  # (rows, columns, 3) float32, 0 to 1
    scale: float  # pixels of the file for each of ours
    fine: np.ndarray | None = None  # (rows, columns, 3) uint8: the same with more pixels, if the file has many more
    several: bool = False  # whether the file has further frames: the picture is the first of them


def read_picture(file: str | os.PathLike[str] | BinaryIO) -> Picture:
    """Read a picture from a path or an open file.

    Raises PictureError where it is no picture, is damaged, has too few or too many pixels, or takes too long or too
    much memory to decode.
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
        advice = "a run stands before the pictures" if is_run else "name the files in it"
        raise PictureError(f"{name} is a directory, expected a picture: {advice}") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise PictureError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error
    if pixels.shortest < SMALLEST:
        raise PictureError(f"{name} is {pixels.shortest} pixels wide or high, too few to show a digit")
    return as_picture(pixels.values, pixels.longest, pixels.several)


def as_picture(values: np.ndarray, longest: int, several: bool = False) -> Picture:
    """Return the picture of ``values`` uint8 (rows, columns) or (rows, columns, 3), ``longest`` pixels in its file."""
    from PIL import Image

    image = Image.fromarray(values).convert("RGB")
    fine = np.asarray(image)
    image.thumbnail((WORKING, WORKING), Image.Resampling.BOX)
    colours = np.asarray(image, np.float32) / np.float32(255)
    keep = max(fine.shape) > 1.5 * max(colours.shape)
    return Picture(colours, longest / max(colours.shape), fine if keep else None, several)
