"""Labelled images on their way into a dataset file: the choice of test images and the order of training images.

Also the usual names of training, validation and test parts in folders and archives.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distlenet.data.file.writer import Block, BlockStream
from distlenet.errors import DataError

DARK = 64  # of 255: images that use the full range have a brighter pixel
SEED = 1998  # default seed for the order and the choice of test images
SPLITS = {
    "train": ("train", "training", "trn", "tr"),
    "validation": ("validation", "validate", "validating", "valid", "val", "dev"),
    "test": ("test", "testing", "tst", "te", "eval", "evaluation", "holdout", "heldout", "unseen", "t10k"),
}
ENDINGS = ("set", "data", "images", "pictures", "imgs", "split")  # of a folder's name: "training_set"
IMAGES = ("x", "images", "image", "imgs", "img", "data", "pictures", "pixels", "features")
LABELS = ("y", "labels", "label", "targets", "target")


@dataclass(frozen=True)
class Dataset:
    """The result of reading a source."""

    train: Block | BlockStream  # images uint8 (n, rows, columns), labels uint8 (n,)
    test: Block | BlockStream
    name: str
    class_names: tuple[str, ...]
    source: str  # a sentence on the origin, stored in the file
    origin: str = ""  # the path that was read
    notes: tuple[str, ...] = ()  # sentences for the user: skipped parts, assumptions
    validation: int = 0  # how many of the last training images were validation images


def divided(
    blocks: Mapping[str, Block],
    place: Path,
    share: float,
    seed: int,
    name: str,
    class_names: Sequence[str],
    source: str,
    notes: Sequence[str] = (),
    origin: str = "",
) -> Dataset:
    """Return the dataset of the ``blocks`` read from ``place``: "train" and optionally "test" and "validation".

    A run validates on the last training images, so validation images are appended to them. Without test images, the
    validation images become the test images. Without both, ``share`` of each class is set aside for the test, chosen
    by ``seed``. ``source`` starts the sentence stored in the file. Raises DataError.
    """
    how, validation, notes = f"shuffled with seed {seed}", 0, list(notes)
    if "test" in blocks or "validation" in blocks:
        train, test = mixed(blocks["train"], seed), blocks.get("test") or blocks["validation"]
        if "test" not in blocks:
            notes.append("there are validation images but no test images: they are used as test images")
        elif "validation" in blocks:
            held = mixed(blocks["validation"], seed)
            train, validation = (np.concatenate([train[0], held[0]]), np.concatenate([train[1], held[1]])), len(held[1])
            notes.append(
                f"the {validation:,} validation images are the last training images: `train --validation {validation}` "
                "uses them"
            )
    else:
        train, test = with_test_images(blocks["train"], share, seed, place)
        how = f"{100 * share:g} % of each class set aside for the test and {how}"
    notes += remarks(train, test, class_names)
    return Dataset(
        train, test, name, tuple(class_names), f"{source}, {how}", origin or f"{place}", tuple(notes), validation
    )


def mixed(block: Block, seed: int) -> Block:
    """Return ``block`` shuffled, in an order that depends only on ``seed`` and its length.

    The last training images serve as validation images: in a table or folder sorted by class they would all have the
    same class.
    """
    images, labels = block
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(labels))
    return images[order], labels[order]


def with_test_images(block: Block, share: float, seed: int, place: Path) -> tuple[Block, Block]:
    """Divide ``block`` into shuffled training and test images: ``share`` of every class, chosen by ``seed``.

    Raises DataError if one of the two would be empty.
    """
    images, labels = mixed(block, seed)
    of_test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        of_test[rows[: min(round(share * len(rows)), len(rows) - 1)]] = True
    if not of_test.any():
        raise DataError(
            f"{place}: {100 * share:g} % of each class's images is less than one image, expected at least one test "
            "image; give more images, a larger --test-share, or separate test images"
        )
    return (images[~of_test], labels[~of_test]), (images[of_test], labels[of_test])


def shape_of(pixels: int, size: tuple[int, int] | None, where: str) -> tuple[int, int]:
    """Return (rows, columns) of an image of ``pixels`` numbers: ``size`` if given, else a square.

    Raises DataError if the number does not fit.
    """
    if size is not None:
        if size[0] * size[1] != pixels:
            raise DataError(
                f"{where} has {pixels} pixels per image, expected {size[0]} x {size[1]} = "
                f"{size[0] * size[1]} as --size says"
            )
        return size
    side = round(pixels**0.5)
    if side * side != pixels or not pixels:
        raise DataError(f"{where} has {pixels} pixels per image, which is not a square; give --size ROWSxCOLUMNS")
    return side, side


def as_pictures(array: np.ndarray, size: tuple[int, int] | None, where: str) -> np.ndarray:
    """Return ``array`` as (n, rows, columns), or (n, rows, columns, 3) if it has colours."""
    shape = array.shape
    if array.ndim == 2:
        return array.reshape(-1, *shape_of(shape[1], size, where))
    if array.ndim == 4 and shape[3] in (1, 3):
        array = array[..., 0] if shape[3] == 1 else array
    elif array.ndim == 4 and shape[1] in (1, 3):
        array = array[:, 0] if shape[1] == 1 else array.transpose(0, 2, 3, 1)
    if array.ndim != 3 and (array.ndim, array.shape[-1:]) != (4, (3,)):
        raise DataError(
            f"{where} has shape {shape}, expected (n, rows, columns) or (n, pixels), with or without an axis of colours"
        )
    if size not in (None, array.shape[1:3]):
        raise DataError(f"{where} has images of {array.shape[1:3]}, expected {size} as --size says")
    return array


def as_labels(array: np.ndarray, count: int, where: str) -> np.ndarray:
    """Return the labels (n,), which may be stored as (n, 1)."""
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if labels.shape != (count,):
        one_hot = array.ndim == 2 and len(array) == count
        advice = "; if it has one column per class, store .argmax(axis=1)" if one_hot else ""
        raise DataError(f"{where} has shape {array.shape}, expected ({count},): one number for each image{advice}")
    return labels


def one_size(images: Iterable[np.ndarray], place: Path | str) -> None:
    """Raise DataError unless all arrays of ``images`` (n, rows, columns, ...), found at ``place``, are of one size."""
    shapes = {array.shape[1:3] for array in images}
    if len(shapes) > 1:
        raise DataError(
            f"{place}: the images have the sizes {' and '.join(map(str, sorted(shapes)))}, expected one size"
        )


def remarks(train: Block, test: Block, class_names: Sequence[str]) -> list[str]:
    """Return a sentence on each property of the images that is allowed but seldom intended."""
    known = {hash(image.tobytes()) for image in train[0]}
    copies = sum(hash(image.tobytes()) in known for image in test[0])
    untested = [name for number, name in enumerate(class_names) if number not in test[1]]
    brightest = int(train[0].max(initial=0))
    found = []
    if copies:
        found.append(
            f"{copies:,} of the {len(test[0]):,} test images are also training images: the test would be dishonest"
        )
    if untested:
        found.append(f"no test image shows {', '.join(untested[:5])}{' ...' * (len(untested) > 5)}")
    if 0 < brightest < DARK:
        found.append(f"the brightest pixel is {brightest} of 255; if that is full ink, multiply by {255 / brightest:g}")
    return found


def split_of(folder: str) -> str | None:
    """Return "train", "validation" or "test" if the name ``folder``, ignoring case, denotes that part; else None."""
    word = _plain(folder)
    words = {word, *(word.removesuffix(ending) for ending in ENDINGS)}
    words |= set(re.split(r"[^a-z0-9]+", folder.lower()))  # "mnist_train", "2. test"
    words -= {"tr", "te"}  # short enough to be classes: Turkish, Telugu
    return next((split for split, names in SPLITS.items() if words & set(names)), None)


def roles(names: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """Return the array ``names`` by role: ("train", "labels") -> ["y_train"]; unknown names are left out.

    "x_train", "train_X" and "trainImages" are training images, and so are "x" and "images".
    """
    found: dict[tuple[str, str], list[str]] = {}
    for name in names:
        word = _plain(name)
        for split, spellings in SPLITS.items():
            for kind, things in (("images", IMAGES), ("labels", LABELS)):
                known = {a + b for s in spellings for t in things for a, b in ((s, t), (t, s))}
                if word in known or (split == "train" and word in things):
                    found.setdefault((split, kind), []).append(name)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\s_.\-]+", "", name.lower())
