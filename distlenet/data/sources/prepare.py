"""Makes dataset files: reads the images, compares them with an existing file, writes them. No terminal output here."""

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
    """The result of ``prepare``."""

    file: DigitFile  # closed, but its attributes are valid
    written: bool  # False if the file already held the same images
    origin: str = ""  # the path that was read; empty if nothing had to be read
    notes: tuple[str, ...] = ()  # the reader's sentences on skipped parts and assumptions
    validation: int = 0  # how many of the last training images were validation images


def prepare(
    out: Path,
    read: Callable[[Progress], Dataset],
    *,
    fingerprint: str = "",
    force: bool = False,
    progress: Progress = silent,
) -> Prepared:
    """Write the dataset that ``read`` returns to the file ``out``.

    Does nothing if ``out`` already holds the same images and classes, intact; replaces any other file only with
    ``force``. If the ``fingerprint`` of the new file is given, an existing file is compared without calling ``read``.
    Raises DataError.
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
    """Whether a file holds ``dataset``; of generated images, only the first block is generated and compared."""
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
