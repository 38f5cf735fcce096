"""Ruled paper: long thin lines are taken out of the ink, and strokes that cross them stay whole."""

import numpy as np

from distlenet.pictures.components import components
from distlenet.pictures.filters import max_filter

CUT = 0.3  # ink above this may be part of a line
LONGEST_SIDE = 64  # pixels: below this a stroke may be as thin as a line
THICKEST = 0.02  # of a line, as a share of the shorter side
SPAN = 0.94  # length of a line, as a share of the side: lines run from border to border
GAP = 0.03  # break of a line where a stroke crosses it, as a share of the side, on each side


def without_lines(ink: np.ndarray) -> np.ndarray:
    """Return ``ink`` (rows, columns) without lines across, then without lines down the picture.

    A single line down the picture that is all there is may be a 1: it stays.
    """
    if min(ink.shape) < LONGEST_SIDE:
        return ink
    ink = _without_rows(ink)
    turned = _without_rows(ink.T).T
    return turned if (turned > 0.5).sum() > 0.2 * (ink > 0.5).sum() else ink


def _without_rows(ink: np.ndarray) -> np.ndarray:
    """Remove lines that run across."""
    rows, columns = ink.shape
    thickest = max(2, round(THICKEST * min(ink.shape)))
    mask = ink > CUT
    thin = mask & (run_lengths(mask) <= thickest)
    bridged = max_filter(thin, (3, 2 * round(GAP * columns) + 1))
    found = components(bridged)
    out = ink.copy()
    for label, (top, left, bottom, right) in enumerate(found.boxes):
        if right - left < SPAN * columns or bottom - top > 0.3 * rows:
            continue
        window = slice(top, bottom)
        row, column = np.nonzero(thin[window] & (found.labels[window] == label))
        curve = _middle(row, column, thickest)
        near = np.abs(np.arange(bottom - top)[:, None] - curve(np.arange(columns))) <= thickest
        if (near & thin[window]).any(axis=0).mean() < 0.6:  # a chance row of specks
            continue
        gone = max_filter(thin[window] & near, (3, 3)) & ~(mask[window] & ~thin[window])
        out[window][gone] = 0
    return out


def run_lengths(mask: np.ndarray) -> np.ndarray:
    """Return for each pixel of ``mask`` the length of the run of True down its column; 0 where it is False."""
    framed = np.pad(mask.T, ((0, 0), (1, 1))).ravel()
    change = np.diff(framed.view(np.int8))
    start, stop = np.flatnonzero(change == 1) + 1, np.flatnonzero(change == -1) + 1
    lengths = np.zeros(framed.shape, int)
    lengths[framed] = np.repeat(stop - start, stop - start)
    return lengths.reshape(mask.shape[1], -1)[:, 1:-1].T


def _middle(row: np.ndarray, column: np.ndarray, thickest: int) -> np.poly1d:
    """Return the parabola through the pixels of a line, those far from it left out, in rounds."""
    middle = column.mean() if len(column) else 0.0
    width = max(np.ptp(column), 1) if len(column) else 1
    kept = np.ones(len(row), bool)
    for reach in (4, 2, 1):
        weights = np.polyfit((column[kept] - middle) / width, row[kept], 2)
        off = np.abs(np.polyval(weights, (column - middle) / width) - row)
        kept = off <= max(reach * thickest, np.median(off))
    return lambda at: np.polyval(weights, (at - middle) / width)
