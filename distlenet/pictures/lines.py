"""Removes the lines of ruled and squared paper from the ink, keeping strokes that cross them whole.

Lines of paper are printed in families: a single line is taken for a stroke of the digit.
"""

import itertools

import numpy as np

from distlenet.pictures.filters import max_filter

CUT = 0.3  # pixels with more ink than this may be part of a line
SMALLEST_SIDE = 48  # pixels: in smaller pictures a stroke may be as thin as a line
THICKEST = 0.02  # largest thickness of a line, as a share of the shorter side
BLOCKS = 16  # parts of a line, each treated as level
BENT = 0.04  # largest height of a line's arc, as a share of its length
STEEPEST = 0.08  # largest rise of a line, as a share of its length
COVERED = 0.7  # least share of a line's unhidden part that must be ink
FAMILY = 2  # least number of parallel lines
VISIBLE = 0.3  # least share of a line that must not be hidden by strokes


def without_lines(ink: np.ndarray) -> np.ndarray:
    """Return ``ink`` (rows, columns) without parallel horizontal, then without parallel vertical lines."""
    if min(ink.shape) < SMALLEST_SIDE:
        return ink
    thickest = max(2, round(THICKEST * min(ink.shape)))
    return _without_rows(_without_rows(ink, thickest).T, thickest).T


def _without_rows(ink: np.ndarray, thickest: int) -> np.ndarray:
    """Return ``ink`` without its horizontal lines."""
    mask = ink > CUT
    tall = ((thickest + 1) | 1, 1)  # higher ink belongs to strokes
    thin = mask & ~max_filter(~max_filter(~mask, tall), tall)
    if thin.any(axis=0).mean() < VISIBLE * COVERED:
        return ink
    lines = _lines(thin, mask & ~thin, max(4, thickest))
    if len(lines) < FAMILY:
        return ink
    near, (row, column) = np.zeros(ink.shape, bool), np.nonzero(thin)
    for line in lines:
        for reach in (2, 1):  # the parabola is fitted to the pixels near it
            close = np.abs(row - line[column]) <= reach * thickest
            line = np.polyval(np.polyfit(column[close], row[close], 2), np.arange(ink.shape[1]))
        near |= np.abs(np.arange(ink.shape[0])[:, None] - line) <= thickest
    return np.where(max_filter(near & thin, (3, 3)) & (thin | ~mask), 0, ink)


def _lines(thin: np.ndarray, thick: np.ndarray, apart: int) -> list[np.ndarray]:
    """Return for each line in ``thin`` (rows, columns) its row at each column; lines are ``apart`` rows or more.

    A line is a parabola: paper is seen at an angle and lies bent. ``thick`` (rows, columns) marks the strokes that may
    hide it.
    """
    rows, columns = thin.shape
    step = max(1, round(columns / 224))
    parts = list(itertools.pairwise(np.linspace(0, columns, BLOCKS + 1).astype(int)))
    most = int((STEEPEST / 2 + BENT) * columns) + 1
    seen, hidden = (max_filter(mask, (2 * step + 1, 1)).astype(np.float32) for mask in (thin & ~thick, thick))
    seen, hidden = (
        np.pad([mask[:, a:b].mean(axis=1) for a, b in parts], ((0, 0), (most, most))) for mask in (seen, hidden)
    )
    x, at = np.linspace(-1, 1, BLOCKS), np.linspace(-1, 1, columns)
    block = np.arange(BLOCKS)[:, None]
    highest, bent = (int(share * columns) // (2 * step) * 2 * step for share in (STEEPEST / 2, BENT))
    bends = np.arange(-bent, bent + 1, 2 * step)
    cover, form = np.zeros(rows), np.zeros((rows, 2))
    for rise in range(-highest, highest + 1, 2 * step):
        offsets = np.rint(rise * x + bends[:, None] * (1 / 3 - x**2)).astype(int) + most
        row = offsets[..., None] + np.arange(rows)  # (bends, BLOCKS, rows)
        covered, covering = seen[block, row].mean(axis=1), hidden[block, row].mean(axis=1)
        here = covered / np.maximum(1 - covering, VISIBLE)
        better = here.max(axis=0) > cover
        form[better] = np.stack([np.full(rows, rise), bends[here.argmax(axis=0)]], axis=1)[better]
        cover = np.maximum(cover, here.max(axis=0))
    lines = []
    while cover.max() >= COVERED:
        middle = int(cover.argmax())
        rise, bend = form[middle]
        lines.append(middle + rise * at + bend * (1 / 3 - at**2))
        cover[max(0, middle - apart) : middle + apart + 1] = 0
    return lines
