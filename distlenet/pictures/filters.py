"""Filters of grey pictures (rows, columns) by numpy alone: means, extremes, shrinking, enlarging."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def mean_filter(grey: np.ndarray, window: int) -> np.ndarray:
    """Return the mean over ``window`` x ``window`` pixels (odd), the border continued; a trailing axis is kept."""
    for axis in (0, 1):
        before = window // 2
        frame = [(0, 0)] * grey.ndim
        frame[axis] = (before + 1, before)
        sums = np.cumsum(np.pad(grey, frame, mode="edge"), axis=axis, dtype=np.float64)
        taken = np.arange(grey.shape[axis])
        grey = (sums.take(taken + window, axis) - sums.take(taken, axis)) / window
    return grey.astype(np.float32)


def max_filter(grey: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Return the maximum over (rows, columns) ``window`` (odd) around each pixel; beyond the border is nothing."""
    for axis, size in enumerate(window):
        frame = [(0, 0), (0, 0)]
        frame[axis] = (size // 2, size // 2)
        lowest = False if grey.dtype == bool else -np.inf
        grey = sliding_window_view(np.pad(grey, frame, constant_values=lowest), size, axis).max(axis=-1)
    return grey


def closing(grey: np.ndarray, window: int) -> np.ndarray:
    """Return ``grey`` with dark details narrower than ``window`` (odd) filled; steps of light stay as they are."""
    return -max_filter(-max_filter(grey, (window, window)), (window, window))


def hat_weights(places: np.ndarray, count: int, width: float) -> np.ndarray:
    """Return the matrix (len(places), count) that samples ``count`` pixels at ``places`` (in pixels, 0 the middle
    of the first) by a triangular filter of half-width ``width``, at least 1; each row's weights add up to 1 inside.

    Beyond the border is 0.
    """
    width = max(width, 1.0)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(count)) / width)
    return (weights / width).astype(np.float32)


def resized(grey: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return ``grey`` at another ``shape`` (rows, columns), antialiased; the border is continued."""
    for axis, size in enumerate(shape):
        here = grey.shape[axis]
        step = here / size
        weights = hat_weights((np.arange(size) + 0.5) * step - 0.5, here, step)
        weights /= weights.sum(axis=1, keepdims=True)
        grey = np.moveaxis(np.tensordot(weights, grey, (1, axis)), 0, axis)
    return grey
