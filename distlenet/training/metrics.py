"""Figures that follow from a confusion matrix."""

import numpy as np


def accuracy(confusion: np.ndarray) -> float:
    """Return the share of images on the diagonal of ``confusion``, 0 without images.

    Arguments:
        confusion: int64 (classes, classes), [true, predicted].
    """
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else 0.0


def per_class(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Return "precision", "recall", "f1" and "support", each float64 (classes,); 0 where undefined.

    Arguments:
        confusion: int64 (classes, classes), [true, predicted].
    """
    right = np.diagonal(confusion).astype(np.float64)
    support = confusion.sum(axis=1).astype(np.float64)
    predicted = confusion.sum(axis=0).astype(np.float64)
    return {
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, support),
        "f1": _ratio(2 * right, support + predicted),
        "support": support,
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
