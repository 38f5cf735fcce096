"""``distlenet.prepare``: arrays -> a dataset file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from distlenet.api.caller import as_path, in_keywords, tell
from distlenet.data.file.writer import Progress
from distlenet.data.sources.dataset import SEED, Dataset, as_labels, as_pictures, divided, one_size
from distlenet.data.sources.numbers import as_blocks, as_pixels, whole_numbers
from distlenet.data.sources.prepare import Prepared
from distlenet.data.sources.prepare import prepare as prepare_file
from distlenet.errors import DataError, UsageError


@dataclass(frozen=True)
class PreparedDataset:
    """A dataset file; it may be given wherever its path may."""

    path: Path
    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int]  # rows, columns
    train: int  # images
    test: int  # images
    fingerprint: str  # SHA-256 of all images and labels
    written: bool  # False: the file held the same images already
    notes: tuple[str, ...]  # sentences on things that are allowed but seldom intended

    def __fspath__(self) -> str:
        return str(self.path)


def prepare(
    images: ArrayLike,
    labels: ArrayLike,
    path: str | os.PathLike[str],
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    test_share: float = 0.2,
    class_names: Sequence[str] | None = None,
    name: str | None = None,
    seed: int = SEED,
    overwrite: bool = False,
) -> PreparedDataset:
    """Write labelled images to the dataset file ``path``, and return what it holds.

    The training images are mixed: a run takes the last twelfth of them as its validation images.

    Arguments:
        images: (n, rows, columns), or (n, pixels) of square images, or either with an axis of 1 or 3 colours. uint8 of
            0 (paper) to 255 (ink); or other integers or floats of 0 to 255; or floats or bools of 0 to 1, which are
            multiplied by 255. Numbers are rounded. All images have the same range.
        labels: (n,) whole numbers: the classes, by rising number.
        path: of the file to write; its directory is made.
        test: (images, labels) of the test images; None: some of ``images`` are set aside.
        test_share: share of each class that is set aside, 0 to 1.
        class_names: of the labels 0, 1, 2, ...; None: the labels themselves are the names.
        name: of the dataset, one line; None: the name of the file.
        seed: of the order, and of the choice of the test images.
        overwrite: replace a file that holds other data.

    Raises DataError: arrays of a wrong shape, type or range, labels out of range, a file that exists and holds other
    data, a disk that is full. UsageError: a wrong argument. Warns of things that are allowed but seldom intended, for
    example test images that are also training images.

    >>> data = distlenet.prepare(images, labels, "datasets/own.h5")
    >>> distlenet.train(data, "runs/own")
    """
    with in_keywords():
        out = Path(as_path(path, "path"))
        if not 0 < test_share < 1:
            raise UsageError(f"test_share is {test_share!r}, expected a number between 0 and 1")
        if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
            raise UsageError(f"seed is {seed!r}, expected a whole number of at least 0")
        given = {"train": ("images", images, "labels", labels)}
        if test is not None:
            if not isinstance(test, Sequence) or len(test) != 2:
                raise UsageError("test is not a pair, expected (images, labels)")
            given["test"] = "test images", test[0], "test labels", test[1]
        title = out.stem if name is None else name

        def read(progress: Progress) -> Dataset:
            return dataset(given, class_names, out, test_share, int(seed), title)

        prepared = prepare_file(out, read, force=overwrite)
        for note in prepared.notes:
            tell(note)
        return described(prepared)


def dataset(
    given: dict[str, tuple[str, ArrayLike, str, ArrayLike]],
    class_names: Sequence[str] | None,
    out: Path,
    share: float,
    seed: int,
    title: str,
) -> Dataset:
    """Return the dataset of the ``given`` arrays: for each split (name of the images, images, name of the labels,
    labels), where the names are for messages. Raises DataError.
    """
    raw, where = {}, {}
    for split, (what, images, labelled, labels) in given.items():
        pictures = as_pictures(as_array(images, what), None, what)
        raw[split] = pictures, as_labels(as_array(labels, labelled), len(pictures), labelled)
        where[split] = what, labelled
    one_size([images for images, _ in raw.values()], "the arrays")
    if class_names is None:
        blocks, names = as_blocks(raw, where)
    else:
        names = tuple(map(str, class_names))
        pixels = as_pixels({where[split][0]: images for split, (images, _) in raw.items()})
        blocks = {
            split: (pixels[where[split][0]], numbered(labels, names, where[split][1]))
            for split, (_, labels) in raw.items()
        }
    return divided(blocks, out, share, seed, title, names, "made from arrays")


def numbered(labels: np.ndarray, names: tuple[str, ...], where: str) -> np.ndarray:
    """Return ``labels`` (n,) as uint8; raises DataError if one is out of the range of ``names``."""
    numbers = whole_numbers(labels, where)
    wrong = numbers >= len(names)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{where}: row {row} has label {numbers[row]}, expected 0 to {len(names) - 1}, one for each of the "
            f"{len(names)} class names"
        )
    return numbers.astype(np.uint8)


def as_array(values: ArrayLike, where: str) -> np.ndarray:
    """Return ``values`` as an array of numbers; raises DataError."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:  # rows of unlike length
        raise DataError(f"{where} cannot be taken as an array: {error}") from error
    if array.dtype.kind not in "buif":
        raise DataError(f"{where} is of type {array.dtype}, expected whole numbers or floats")
    return array


def described(prepared: Prepared) -> PreparedDataset:
    """Return what a dataset file holds."""
    file = prepared.file
    return PreparedDataset(
        path=Path(file.path),
        name=file.name,
        class_names=file.class_names,
        image_shape=file.image_shape,
        train=file.length("train"),
        test=file.length("test"),
        fingerprint=file.fingerprint,
        written=prepared.written,
        notes=prepared.notes,
    )
