"""Labelled images in memory, on their way into a dataset file: who is tested on, and in which order they stand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from distlenet.data.file.writer import Block
from distlenet.errors import DataError

DARK = 64  # of 255: images of full range are brighter somewhere
SEED = 1998  # of the order and of the test images, unless the user names another


@dataclass(frozen=True)
class Dataset:
    """What a reader of a format returns."""

    train: Block  # images uint8 (n, rows, columns), labels uint8 (n,)
    test: Block
    name: str
    class_names: tuple[str, ...]
    source: str  # a sentence for the file
    origin: str  # which copy was read
    notes: tuple[str, ...] = ()  # sentences for whoever made it: what was left out, what was taken for what
    validation: int = 0  # how many of the last training images came as validation images; 0: none did


@dataclass(frozen=True)
class Parts:
    """Training and test images, and how they came to be."""

    train: Block
    test: Block
    said: str  # for the dataset's source
    notes: tuple[str, ...] = ()
    validation: int = 0


def mixed(block: Block, seed: int) -> Block:
    """Return ``block`` in an order that depends on ``seed`` and its length alone.

    The validation images are the last ones of the training set: in a table or a folder sorted by class they
    would all be of one class.
    """
    images, labels = block
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(labels))
    return images[order], labels[order]


def joined(blocks: Mapping[str, Block], share: float, seed: int, where: str) -> Parts:
    """Return the training and test images of what was found: "train", perhaps "test", perhaps "validation".

    A run validates on the last training images, so validation images become these; where there are no test images,
    validation images are the test images. With neither, ``share`` of each class is set aside, by ``seed``. Raises
    DataError.
    """
    if "test" in blocks and "validation" in blocks:
        train, held = mixed(blocks["train"], seed), mixed(blocks["validation"], seed)
        images, labels = (np.concatenate(pair) for pair in zip(train, held, strict=True))
        count = len(held[1])
        note = f"the {count:,} validation images are the last training images: `train --validation {count}` uses them"
        return Parts((images, labels), blocks["test"], f"mixed by seed {seed}", (note,), count)
    if "validation" in blocks:
        note = "there are validation images and no test images: they are the test images here"
        return Parts(mixed(blocks["train"], seed), blocks["validation"], f"mixed by seed {seed}", (note,))
    if "test" in blocks:
        return Parts(mixed(blocks["train"], seed), blocks["test"], f"mixed by seed {seed}")
    train, test = with_test_images(blocks["train"], share, seed, where)
    return Parts(train, test, f"{100 * share:g} % of each class set aside for the test and mixed by seed {seed}")


def with_test_images(block: Block, share: float, seed: int, where: str) -> tuple[Block, Block]:
    """Divide ``block`` into mixed training images and test images: ``share`` of every class, drawn by ``seed``.

    Raises DataError when no image is left for one of the two.
    """
    images, labels = mixed(block, seed)
    of_test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        of_test[rows[: min(round(share * len(rows)), len(rows) - 1)]] = True
    if not of_test.any():
        raise DataError(
            f"{where}: {100 * share:g} % of the images of each class are none at all, expected at least one test "
            "image; give more images, a larger --test-share, or test images of their own"
        )
    return (images[~of_test], labels[~of_test]), (images[of_test], labels[of_test])


def shape_of(pixels: int, size: tuple[int, int] | None, where: str) -> tuple[int, int]:
    """Return (rows, columns) of an image kept as ``pixels`` numbers: ``size``, else a square.

    Raises DataError if they do not fit.
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
        raise DataError(f"{where} has {pixels} pixels per image, which make no square; give --size ROWSxCOLUMNS")
    return side, side


def remarks(parts: Parts, class_names: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence on each thing in ``parts`` that is legal and seldom meant."""
    (train, _), (test, test_labels) = parts.train, parts.test
    known = {hash(image.tobytes()) for image in train}
    copies = sum(hash(image.tobytes()) in known for image in test)
    untested = [name for number, name in enumerate(class_names) if number not in test_labels]
    brightest = int(train.max(initial=0))
    found = []
    if copies:
        found.append(f"{copies:,} of the {len(test):,} test images are among the training images too: no honest test")
    if untested:
        found.append(f"no test image shows {', '.join(untested[:5])}{' ...' * (len(untested) > 5)}")
    if 0 < brightest < DARK:
        found.append(f"the brightest pixel is {brightest} of 255; if that is full ink, multiply by {255 / brightest:g}")
    return tuple(found)
