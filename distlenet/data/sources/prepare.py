"""Make dataset files: find or fetch the digits, verify them, write them. No terminal here."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from distlenet.data.file.dataset_file import DigitFile, open_digit_file
from distlenet.data.file.header import BLOCK_ROWS, block_digests, fingerprint_of
from distlenet.data.file.writer import Block, BlockStream, Progress, silent, write_digit_file
from distlenet.data.prepared import Prepared, describe, existing, other_data, verify
from distlenet.data.sources import mnist
from distlenet.data.sources.dataset import Dataset
from distlenet.data.sources.download import PATIENT, Patience, download
from distlenet.errors import DataError, DownloadError

# Test digits are numbered from here, so that they stay the same whatever the number of training digits.
FIRST_TEST_DIGIT = 1_000_000_000


def prepare_mnist(
    out: Path,
    *,
    place: Path | None = None,
    force: bool = False,
    progress: Progress = silent,
    mirrors: tuple[str, ...] = mnist.MIRRORS,
    patience: Patience = PATIENT,
) -> Prepared:
    """Write MNIST to the dataset file ``out``.

    It is taken from ``place``, else $DISTLENET_MNIST, else where other programs keep it, else ``mirrors``.
    Does nothing if ``out`` holds MNIST already, intact; replaces any other file only by ``force``. Raises
    DataError or DownloadError.
    """
    if not force and out.exists():
        with existing(out) as digits:
            if digits.fingerprint != mnist.FINGERPRINT:
                raise other_data(out, digits)
            verify(digits, progress)
            return describe(digits, origin="", written=False)
    found = mnist.find_mnist(place, progress)
    if found is None:
        found = mnist.load_mnist(_download_mnist(mirrors, patience, progress), progress)
    write_digit_file(
        out,
        train=found.train,
        test=found.test,
        name="MNIST",
        class_names=mnist.CLASS_NAMES,
        source=mnist.SOURCE,
        progress=progress,
    )
    with open_digit_file(out) as digits:
        return describe(digits, origin=str(found.origin), written=True)


def prepare_synthetic(
    out: Path,
    *,
    train: int = 60000,
    test: int = 10000,
    seed: int = 1998,
    distinct: int = 0,
    force: bool = False,
    progress: Progress = silent,
) -> Prepared:
    """Draw ``train`` and ``test`` digits and write them to the dataset file ``out``; needs no network.

    With ``distinct`` (0: all) only so many of the training digits are drawn, held in memory and repeated: a large file
    soon, to measure speed with; its validation images are then among the training images.

    Does nothing if ``out`` holds the same digits already; replaces any other file only by ``force``.
    Raises DataError.
    """
    if train < 1 or test < 1 or train > FIRST_TEST_DIGIT:
        raise DataError(f"--train {train} --test {test}: expected 1 to {FIRST_TEST_DIGIT:,} digits each")
    source = f"drawn by distlenet from seed {seed}: not MNIST, no handwriting"
    drawn = _drawn(train, seed, 0)
    if 0 < distinct < train:
        source += f"; the first {distinct:,} training images are repeated"
        drawn = _repeated(distinct, train, seed)
    splits = {"train": drawn, "test": _drawn(test, seed, FIRST_TEST_DIGIT)}
    if not force and out.exists():
        with existing(out) as digits:
            if digits.source != source or not all(_begins(digits, name, splits[name]) for name in splits):
                raise other_data(out, digits)
            verify(digits, progress)
            return describe(digits, origin="", written=False)
    write_digit_file(
        out,
        train=splits["train"],
        test=splits["test"],
        name="drawn digits",
        class_names=mnist.CLASS_NAMES,
        source=source,
        progress=progress,
    )
    with open_digit_file(out) as digits:
        return describe(digits, origin="", written=True)


def prepare_dataset(
    out: Path, read: Callable[[Progress], Dataset], *, force: bool = False, progress: Progress = silent
) -> Prepared:
    """Write what ``read`` returns to the dataset file ``out``.

    Does nothing if ``out`` holds the same images and classes already, intact; replaces any other file only by
    ``force``. Raises DataError.
    """
    old = None if force or not out.exists() else existing(out)
    dataset = read(progress)
    if old is not None:
        with old as digits:
            found = fingerprint_of(block_digests(*block) for block in (dataset.train, dataset.test))
            if (digits.fingerprint, digits.class_names) != (found, dataset.class_names):
                raise other_data(out, digits)
            verify(digits, progress)
            return _with_notes(describe(digits, origin="", written=False), dataset)
    write_digit_file(
        out,
        train=dataset.train,
        test=dataset.test,
        name=dataset.name,
        class_names=dataset.class_names,
        source=dataset.source,
        progress=progress,
    )
    with open_digit_file(out) as digits:
        return _with_notes(describe(digits, origin=dataset.origin, written=True), dataset)


def _with_notes(prepared: Prepared, dataset: Dataset) -> Prepared:
    return replace(prepared, notes=dataset.notes, validation=dataset.validation)


def _download_mnist(mirrors: tuple[str, ...], patience: Patience, progress: Progress) -> Path:
    """Fetch the four files into the cache and return its directory."""
    cache = mnist.cache_directory()
    try:
        for file in mnist.FILES:
            if mnist.is_published(cache / f"{file.name}.gz", file):
                continue  # an earlier download got this far
            download(
                [f"{mirror}{file.name}.gz" for mirror in mirrors],
                cache / f"{file.name}.gz",
                sha256=file.gz_sha256,
                largest=file.gz_size,
                patience=patience,
                progress=progress,
            )
    except DownloadError as error:
        raise DownloadError(
            f"MNIST is not on this machine and {error}; give the directory of the files by --from or "
            "$DISTLENET_MNIST, or draw digits with `distlenet prepare synthetic`"
        ) from error
    return cache


def _drawn(count: int, seed: int, start: int) -> BlockStream:
    from distlenet.data.strokes import draw_digits

    def blocks() -> Iterator[Block]:
        for row in range(0, count, BLOCK_ROWS):
            yield draw_digits(min(BLOCK_ROWS, count - row), seed, start + row)

    return BlockStream(count, (28, 28), blocks)


def _repeated(distinct: int, count: int, seed: int) -> BlockStream:
    from distlenet.data.strokes import draw_digits

    def blocks() -> Iterator[Block]:
        images, labels = draw_digits(distinct, seed)
        for row in range(0, count, BLOCK_ROWS):
            rows = np.arange(row, min(row + BLOCK_ROWS, count)) % distinct
            yield images[rows], labels[rows]

    return BlockStream(count, (28, 28), blocks)


def _begins(digits: DigitFile, split: str, stream: BlockStream) -> bool:
    """Tell whether the first block of ``split`` is what would be drawn: the drawing may have changed."""
    images, labels = next(iter(stream.blocks()))
    if digits.length(split) != stream.count:
        return False
    return np.array_equal(block_digests(images, labels), digits.digests(split)[:1])
