"""Labels as people number them, brought to 0, 1, 2, ...: the classes are the labels of the training images."""

import numpy as np

from distlenet.errors import DataError

MOST_CLASSES = 256


def number_classes(
    train: np.ndarray, test: np.ndarray | None, where: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Return both label arrays, uint8 (n,), and the class names: the training labels in rising order.

    ``train`` and ``test`` are (n,) whole numbers, in floats too; ``where`` names both. Raises DataError.
    """
    train = _whole(train, where[0])
    classes = np.unique(train)
    if not 2 <= len(classes) <= MOST_CLASSES:
        shown = ", ".join(map(str, classes[:5].tolist()))
        raise DataError(f"{where[0]} has {len(classes)} classes ({shown}), expected 2 to {MOST_CLASSES}")
    names = tuple(map(str, classes.tolist()))
    if test is not None:
        test = _whole(test, where[1])
        strange = ~np.isin(test, classes)
        if strange.any():
            row = int(strange.argmax())
            raise DataError(f"{where[1]}: row {row} has label {test[row]}, which no training image has")
        test = np.searchsorted(classes, test).astype(np.uint8)
    return np.searchsorted(classes, train).astype(np.uint8), test, names


def _whole(labels: np.ndarray, where: str) -> np.ndarray:
    """Return ``labels`` (n,) as int64."""
    if labels.dtype.kind not in "buif":
        raise DataError(f"{where} is of type {labels.dtype}, expected whole numbers")
    whole = labels.astype(np.int64) if labels.dtype.kind != "f" else np.nan_to_num(labels, nan=-1).astype(np.int64)
    wrong = (whole != labels) | (whole < 0)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{where}: row {row} has label {labels[row]}, expected a whole number of at least 0")
    return whole
