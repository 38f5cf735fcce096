"""Make dataset files: read the images, compare them with a file that stands there, write them. No terminal here."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from distlenet.data.file.dataset_file import AGAIN, PREPARE, DigitFile, open_digit_file
from distlenet.data.file.header import BLOCK_ROWS, SPLITS, block_digests
from distlenet.data.file.writer import BlockStream, Progress, as_stream, silent, write_digit_file
from distlenet.data.sources.dataset import Dataset
from distlenet.errors import DataError


@dataclass(frozen=True)
class Prepared:
    """What is in the file now."""

    file: DigitFile  # closed: its attributes stay
    written: bool  # False: the file held the same images already
    origin: str = ""  # which copy was read; empty if none had to be
    notes: tuple[str, ...] = ()  # of the reader, on what was left out or taken for what
    validation: int = 0  # how many of the last training images came as validation images


def prepare(
    out: Path,
    read: Callable[[Progress], Dataset],
    *,
    fingerprint: str = "",
    force: bool = False,
    progress: Progress = silent,
) -> Prepared:
    """Write what ``read`` returns to the dataset file ``out``.

    Does nothing if ``out`` holds the same images and classes already, intact; replaces any other file only by
    ``force``. With ``fingerprint``, that of the file to be made, nothing is read to find out. Raises DataError.
    """
    try:
        old = None if force or not out.exists() else open_digit_file(out)
    except DataError as error:
        reason = str(error).removesuffix(f"; {AGAIN}").removesuffix(f"; {PREPARE}")
        raise DataError(f"{reason}; to replace the file, add --force") from error
    dataset = None if old and fingerprint else read(progress)
    if old:
        with old:
            if not (_holds(old, dataset) if dataset else old.fingerprint == fingerprint):
                raise DataError(
                    f"{out} exists and holds other data: {old.name} ({old.source}), {old.length('train'):,} + "
                    f"{old.length('test'):,} images; add --force to replace it, or choose another --out"
                )
            _verify(old, progress)
    elif dataset:
        write_digit_file(
            out,
            train=dataset.train,
            test=dataset.test,
            name=dataset.name,
            class_names=dataset.class_names,
            source=dataset.source,
            progress=progress,
        )
    with open_digit_file(out) as file:
        if dataset is None:
            return Prepared(file, written=False)
        return Prepared(file, not old, "" if old else dataset.origin, dataset.notes, dataset.validation)


def _holds(digits: DigitFile, dataset: Dataset) -> bool:
    """Tell whether a file holds ``dataset``: of images that are made by the program, their first block is made."""
    made = isinstance(dataset.train, BlockStream)
    if digits.class_names != dataset.class_names or (made and digits.source != dataset.source):
        return False
    for split, part in zip(SPLITS, (dataset.train, dataset.test), strict=True):
        stream = as_stream(part)
        if (digits.length(split), digits.image_shape) != (stream.count, tuple(stream.image_shape)):
            return False
        for number, block in enumerate(islice(stream.blocks(), 1 if made else None)):
            if not np.array_equal(block_digests(*block), digits.sums[split][number : number + 1]):
                return False
    return True


def _verify(digits: DigitFile, progress: Progress) -> None:
    """Check every block of ``digits``; raises DataError."""
    for split in SPLITS:
        length = digits.length(split)
        for start in range(0, length, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, length)
            digits.verify(split, start, stop)
            progress(f"verifying {split}", stop, length)
