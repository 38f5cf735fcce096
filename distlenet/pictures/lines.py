"""Removes the lines of ruled and squared paper from the ink, keeping strokes that cross them whole.

Lines of paper are printed in families. A single one, horizontal or vertical, may be a stroke of the digit: it is one
if it ends before the picture does.
"""

import itertools

import numpy as np

from distlenet.pictures.filters import max_filter

CUT = 0.3  # pixels with more ink than this may be part of a line
SMALLEST_SIDE = 48  # pixels: in smaller pictures a stroke may be as thin as a line
THICKEST = 0.02  # largest thickness of a line, as a share of the shorter side
BLOCKS = 16  # parts of a line, each treated as level
STEEPEST = 0.08  # largest rise of a line, as a share of its length
COVERED = 0.7  # least share of a line's unhidden part that must be ink
FAMILY = 2  # least number of parallel lines
VISIBLE = 0.3  # least share of a line that must not be hidden by strokes


def without_lines(ink: np.ndarray, single: bool = False, thickest: float = THICKEST) -> np.ndarray:
    """Return ``ink`` (rows, columns) without parallel horizontal, then without parallel vertical lines.

    With ``single``, also without a single line that runs from border to border.
    """
    if min(ink.shape) < SMALLEST_SIDE:
        return ink
    thick = max(2, round(thickest * min(ink.shape)))
    return _without_rows(_without_rows(ink, single, thick).T, single, thick).T


def _without_rows(ink: np.ndarray, single: bool, thickest: int) -> np.ndarray:
    """Return ``ink`` without its horizontal lines."""
    mask = ink > CUT
    thin = mask & (run_lengths(mask) <= thickest)
    if thin.any(axis=0).mean() < VISIBLE * COVERED:
        return ink
    lines = _straight_lines(max_filter(thin, (3, 1)), max_filter(mask & ~thin, (3, 1)))
    if len(lines) < FAMILY and not (single and all(_reaches_ends(thin, line, thickest) for line in lines)):
        return ink
    out, here = ink.copy(), np.arange(ink.shape[1])
    for straight in lines:
        row, column = np.nonzero(thin)
        close = np.abs(row - straight[column]) <= 2 * thickest
        curve = _parabola(column[close], row[close], thickest, here)
        near = thin & (np.abs(np.arange(ink.shape[0])[:, None] - curve) <= thickest)
        out[max_filter(near, (3, 3)) & (thin | ~mask)] = 0
    return out


def _straight_lines(thin: np.ndarray, thick: np.ndarray) -> list[np.ndarray]:
    """Return for each line in ``thin`` (rows, columns) its row at each column; all lines have the same slope.

    ``thick`` (rows, columns) marks the strokes that may hide them.
    """
    rows, columns = thin.shape
    edges = np.linspace(0, columns, BLOCKS + 1).astype(int)
    parts = list(itertools.pairwise(edges))
    most = int(STEEPEST * columns / 2)  # rows from the middle of a line to its end
    seen, hidden = (
        np.pad([mask[:, a:b].mean(axis=1) for a, b in parts], ((0, 0), (most, most))) for mask in (thin & ~thick, thick)
    )
    best, power = (np.zeros(rows), 0), 0.0
    for rise in range(-most, most + 1):
        offsets = np.rint(np.linspace(-rise, rise, BLOCKS)).astype(int) + most
        covered, covering = (
            np.mean([block[first : first + rows] for block, first in zip(blocks, offsets, strict=True)], axis=0)
            for blocks in (seen, hidden)
        )
        cover = covered / np.maximum(1 - covering, VISIBLE)
        strength = float(np.sum(cover[cover >= COVERED] ** 2))
        if strength > power:
            best, power = (cover, rise), strength
    cover, rise = best
    peak = (cover >= COVERED) & (cover >= max_filter(cover[:, None], (7, 1))[:, 0])
    middles = [row for row in np.flatnonzero(peak) if not peak[max(0, row - 3) : row].any()]
    return [middle + np.linspace(-rise, rise, columns) for middle in middles]


def _reaches_ends(thin: np.ndarray, line: np.ndarray, thickest: int) -> bool:
    """Return whether there is ink of ``line`` (columns,) in most of its first and its last block."""
    reach = len(line) // BLOCKS + 1
    row, column = np.nonzero(thin)
    at = column[np.abs(row - line[column]) <= 2 * thickest]
    return all(len(np.unique(at[end])) >= COVERED * reach for end in (at < reach, at >= len(line) - reach))


def run_lengths(mask: np.ndarray) -> np.ndarray:
    """Return for each pixel of ``mask`` the length of the vertical run of True it is in; 0 where it is False."""
    framed = np.pad(mask.T, ((0, 0), (1, 1))).ravel()
    change = np.diff(framed.view(np.int8))
    start, stop = np.flatnonzero(change == 1) + 1, np.flatnonzero(change == -1) + 1
    lengths = np.zeros(framed.shape, int)
    lengths[framed] = np.repeat(stop - start, stop - start)
    return lengths.reshape(mask.shape[1], -1)[:, 1:-1].T


def _parabola(column: np.ndarray, row: np.ndarray, thickest: int, at: np.ndarray) -> np.ndarray:
    """Fit a parabola to pixels (row, column), dropping outliers in rounds; return its rows at the columns ``at``."""
    x = 2 * column / len(at) - 1
    kept = np.ones(len(row), bool)
    for reach in (2, 1):
        weights = np.polyfit(x[kept], row[kept], 2)
        off = np.abs(np.polyval(weights, x) - row)
        kept = off <= max(reach * thickest, float(np.median(off)))
    return np.polyval(weights, 2 * at / len(at) - 1)
