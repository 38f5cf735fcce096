"""Labels as people number them, brought to 0, 1, 2, ...: the classes are the labels of the training images."""

from collections.abc import Mapping

import numpy as np

from distlenet.data.sources.numbers import whole_numbers
from distlenet.errors import DataError

MOST_CLASSES = 256


def number_classes(
    labels: Mapping[str, np.ndarray], where: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the labels of each split as uint8 (n,), and the class names: the training labels in rising order.

    ``labels`` of "train" and perhaps other splits are (n,) whole numbers, in floats too; ``where`` names each.
    Raises DataError.
    """
    whole = {split: whole_numbers(numbers, where[split]) for split, numbers in labels.items()}
    classes = np.unique(whole["train"])
    if not 2 <= len(classes) <= MOST_CLASSES:
        shown = ", ".join(map(str, classes[:5].tolist()))
        raise DataError(f"{where['train']} has {len(classes)} classes ({shown}), expected 2 to {MOST_CLASSES}")
    for split, numbers in whole.items():
        strange = ~np.isin(numbers, classes)
        if strange.any():
            row = int(strange.argmax())
            raise DataError(f"{where[split]}: row {row} has label {numbers[row]}, which no training image has")
    numbered = {split: np.searchsorted(classes, numbers).astype(np.uint8) for split, numbers in whole.items()}
    return numbered, tuple(map(str, classes.tolist()))
