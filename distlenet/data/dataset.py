"""Labelled images in memory, on their way into a dataset file: who is tested on, and in which order they stand."""

from dataclasses import dataclass

import numpy as np

from distlenet.data.digitwriter import Block
from distlenet.errors import DataError

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


def mixed(block: Block, seed: int) -> Block:
    """Return ``block`` in an order that depends on ``seed`` and its length alone.

    The validation images are the last ones of the training set: in a table or a folder sorted by class they
    would all be of one class.
    """
    images, labels = block
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(labels))
    return images[order], labels[order]


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
