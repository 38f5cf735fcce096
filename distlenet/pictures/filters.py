"""Filters for grey pictures (rows, columns), in numpy alone: means, extremes, resizing."""

import numpy as np


def mean_filter(grey: np.ndarray, window: int) -> np.ndarray:
    """Return the mean over ``window`` x ``window`` pixels (odd), borders replicated; a trailing axis is kept."""
    for axis in (0, 1):
        size, frame = grey.shape[axis], [(0, 0)] * grey.ndim
        frame[axis] = (window // 2 + 1, window // 2)
        framed = np.pad(grey, frame, mode="edge")
        if window == 3:  # three additions are faster than a running sum
            total = part(framed, axis, 1, size) + part(framed, axis, 2, size) + part(framed, axis, 3, size)
        else:
            sums = np.cumsum(framed, axis=axis, dtype=np.float64)
            total = part(sums, axis, window, size) - part(sums, axis, 0, size)
        grey = (total / window).astype(np.float32)
    return grey


def max_filter(grey: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Return the maximum over the (rows, columns) ``window`` (odd) around each pixel, cut off at the borders.

    The maximum over 2k pixels is the maximum of two adjacent maxima over k, so a few passes suffice for any window.
    """
    down, right = (size // 2 for size in window)
    rows, columns = grey.shape
    most = np.full((rows + 2 * down, columns + 2 * right), False if grey.dtype == bool else -np.inf, grey.dtype)
    most[down : down + rows, right : right + columns] = grey
    for axis, size in enumerate(window):
        covered = 1
        while covered < size:
            step = min(covered, size - covered)
            length = most.shape[axis] - step
            most = np.maximum(part(most, axis, 0, length), part(most, axis, step, length))
            covered += step
    return most


def closing(grey: np.ndarray, window: int) -> np.ndarray:
    """Return ``grey`` with dark details narrower than ``window`` (odd) filled; steps in brightness are kept."""
    return -max_filter(-max_filter(grey, (window, window)), (window, window))


def hat_weights(positions: np.ndarray, count: int, width: float) -> np.ndarray:
    """Return the matrix (len(positions), count) that samples ``count`` pixels with a triangular filter.

    ``positions`` are in pixels, 0 being the middle of the first. The filter's half-width is ``width``, at least 1.
    Pixels beyond the border count as 0; away from it each row's weights add up to 1.
    """
    width = max(width, 1.0)
    weights = np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(count)) / width)
    return (weights / width).astype(np.float32)


def resized(grey: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return ``grey`` resized to ``shape`` (rows, columns), antialiased, borders replicated."""
    for axis, size in enumerate(shape):
        here = grey.shape[axis]
        step = here / size
        weights = hat_weights((np.arange(size) + 0.5) * step - 0.5, here, step)
        weights /= weights.sum(axis=1, keepdims=True)
        grey = np.moveaxis(np.tensordot(weights, grey, (1, axis)), 0, axis)
    return grey


def shrunk(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """Return (rows, columns) with the same proportions, neither larger than ``longest``."""
    shrink = max(1.0, max(shape[:2]) / longest)
    return max(1, round(shape[0] / shrink)), max(1, round(shape[1] / shrink))


def part(array: np.ndarray, axis: int, first: int, size: int) -> np.ndarray:
    """Return the view of ``size`` entries along ``axis``, starting at ``first``."""
    return array[(slice(None),) * axis + (slice(first, first + size),)]
