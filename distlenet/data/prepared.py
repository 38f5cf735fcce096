"""A dataset file after it was made, and one that stood there before: is it the same, may it be replaced?"""

import os
from dataclasses import dataclass
from pathlib import Path

from distlenet.data.file.dataset_file import AGAIN, PREPARE, DigitFile, open_digit_file
from distlenet.data.file.header import BLOCK_ROWS, SPLITS
from distlenet.data.file.writer import Progress
from distlenet.errors import DataError


@dataclass(frozen=True)
class Prepared:
    """What is in the file now."""

    path: Path
    name: str
    source: str
    origin: str  # which copy was read; empty if none had to be
    train: int  # images
    test: int
    fingerprint: str
    size: int  # bytes
    written: bool  # False: the file held the same digits already
    class_names: tuple[str, ...] = ()
    image_shape: tuple[int, int] = (28, 28)
    notes: tuple[str, ...] = ()  # of the reader, on what was left out or taken for what
    validation: int = 0  # how many of the last training images came as validation images


def existing(out: Path) -> DigitFile:
    """Open the dataset file that stands in the way; raises DataError if it is none, or damaged."""
    try:
        return open_digit_file(out)
    except DataError as error:
        reason = str(error).removesuffix(f"; {AGAIN}").removesuffix(f"; {PREPARE}")
        raise DataError(f"{reason}; to replace the file, add --force") from error


def other_data(out: Path, digits: DigitFile) -> DataError:
    """Return the error that ``out`` holds something else."""
    return DataError(
        f"{out} exists and holds other data: {digits.name} ({digits.source}), {digits.length('train'):,} + "
        f"{digits.length('test'):,} images; add --force to replace it, or choose another --out"
    )


def verify(digits: DigitFile, progress: Progress) -> None:
    """Check every block of ``digits``; raises DataError."""
    for split in SPLITS:
        length = digits.length(split)
        for start in range(0, length, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, length)
            digits.verify(split, start, stop)
            progress(f"verifying {split}", stop, length)


def describe(digits: DigitFile, *, origin: str, written: bool) -> Prepared:
    """Return what is in the open file."""
    return Prepared(
        path=digits.path,
        name=digits.name,
        source=digits.source,
        origin=origin,
        train=digits.length("train"),
        test=digits.length("test"),
        fingerprint=digits.fingerprint,
        size=os.path.getsize(digits.path),
        written=written,
        class_names=digits.class_names,
        image_shape=digits.image_shape,
    )
