"""One picture file of any kind to an array: what training and predicting both read.

The formats, and what becomes of 16 bits, masks of 0 and 1, transparency, palettes and turned photographs, is decided
in ``picture_decoder.py``, once for all who read pictures.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from distlenet.data.sources.picture_process import DECODERS, NotDecoded
from distlenet.errors import DataError, UsageError, missing_extra

MOST_BYTES = 256 * 2**20  # of a file


@dataclass(frozen=True)
class Pixels:
    """A decoded picture, the right way up."""

    values: np.ndarray  # uint8 (rows, columns) or (rows, columns, 3)
    longest: int  # pixels along the longer side in the file: more than here if it is very large
    shortest: int
    several: bool  # whether the file holds further frames: this is the first
    paper: int | None  # 0 or 255, the paper that strokes on transparent ground were put on

    @property
    def grey(self) -> np.ndarray:
        """The luminance, uint8 (rows, columns)."""
        if self.values.ndim == 2:
            return self.values
        from PIL import Image

        return np.asarray(Image.fromarray(self.values).convert("L"))


def read_pixels(file: str | os.PathLike[str] | BinaryIO) -> Pixels:
    """Return the picture in ``file``, a path or an open file.

    Raises NotDecoded, whose text goes on after the picture's name; OSError where it cannot be opened; UsageError
    without Pillow. Decoding may take 6 s of processor time and 1 GiB.
    """
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise UsageError(missing_extra("reading pictures", "Pillow", "pictures")) from error
    if isinstance(file, str | os.PathLike):
        with open(file, "rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    else:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise NotDecoded(f"has more than {MOST_BYTES // 2**20} MiB: save it as PNG or JPEG")
    facts, values = DECODERS.decode(content)
    return Pixels(values, max(facts["size"]), min(facts["size"]), facts["several"], facts["paper"])


def read_image(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, int | None]:
    """Return the picture ``path`` in grey as uint8 (rows, columns) = ``size``, and the paper it was put on.

    It is scaled with its proportions kept, and centred; what is left at two sides takes the median of its own border.
    The paper is 0 or 255 for strokes on transparent ground, else None. Raises DataError that names the file,
    UsageError without Pillow.
    """
    try:
        pixels = read_pixels(path)
    except NotDecoded as reason:
        raise DataError(f"{path} {reason}; replace or remove it") from reason
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    from PIL import Image, ImageOps

    grey, (rows, columns) = pixels.grey, size
    if grey.shape != size:
        border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
        edge = int(np.median(border))
        padded = ImageOps.pad(Image.fromarray(grey), (columns, rows), Image.Resampling.LANCZOS, edge)
        grey = np.asarray(padded)
    return grey, pixels.paper
