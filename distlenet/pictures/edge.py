"""Finds what lies around the digits: at the picture's edge (a table, a binding, a neighbour's part), and frames.

A frame is a box or a table drawn around digits: ink along all four sides of its bounding box, with other ink inside.
"""

import numpy as np

from distlenet.pictures.digits import CUT, components
from distlenet.pictures.filters import max_filter

BAND = 0.1  # ink that stays within this share of the shorter side from the border is not part of the digit
MARGIN = 0.01  # width covered around ink at the edge, as a share of the shorter side: its blurred rim
SMALL = 0.04  # several digits are higher than this share of the longer side, ...
ALIKE = 0.5  # ... and ink at the edge that differs by less than this from their median height is one of them
SIDE = 0.85  # least share of each side of a frame that is ink
ASKEW = 0.07  # width of a side, as a share of the frame's longer side: frames are seen at an angle
ENCLOSED = 0.25  # least height of ink in a frame, as a share of the frame's
FAINT = 0.2  # pixels with more ink than this may be part of a frame
MOST_FRAMES = 50  # only the largest components are considered


def without_frames(ink: np.ndarray) -> np.ndarray:
    """Return ``ink`` (rows, columns) without frames, keeping strokes in their cells that touch them."""
    found = components(ink > FAINT)
    for label, (top, left, bottom, right) in enumerate(found.boxes[:MOST_FRAMES]):
        within = (found.boxes[:, :2] > (top, left)).all(axis=1) & (found.boxes[:, 2:] < (bottom, right)).all(axis=1)
        tall = found.boxes[:, 2] - found.boxes[:, 0] > ENCLOSED * (bottom - top)
        here = (slice(top, bottom), slice(left, right))
        own = found.labels[here] == label
        if (within & tall).any() and _has_four_sides(own):
            ink = ink.copy()
            ink[here][_widened(own) & ~_cells(own)] = 0
    return ink


def _cells(own: np.ndarray) -> np.ndarray:
    """Return what the lines of the frame ``own`` (rows, columns) enclose, with the strokes that reach into a cell."""
    paper = components(~np.pad(max_filter(own, (3, 3)), 1))  # wider lines: none leaks through a corner
    cells = np.zeros(own.shape, bool)
    for label in range(len(paper.areas)):
        cell = paper.labels[1:-1, 1:-1] == label
        if label == paper.labels[0, 0] or cell.any(axis=1).sum() < ENCLOSED * len(own):
            continue
        for axis in (1, 0):  # all between its first and last pixel of each row, then of each column
            first = np.maximum.accumulate(cell, axis=axis)
            cell = first & np.flip(np.maximum.accumulate(np.flip(cell, axis), axis=axis), axis)
        cells |= cell
    return cells


def _has_four_sides(own: np.ndarray) -> bool:
    reach = 2 + round(ASKEW * max(own.shape))
    sides = (own[:reach].any(axis=0), own[-reach:].any(axis=0), own[:, :reach].any(axis=1), own[:, -reach:].any(axis=1))
    return min(own.shape) > 4 * reach // 3 and all(side.mean() >= SIDE for side in sides)


def at_edge(ink: np.ndarray, many: bool = False) -> np.ndarray | None:
    """Return where ``ink`` (rows, columns) belongs to what lies at the edge, or None if nothing does.

    With ``many``, ink as high as the rest may be a digit cut off, unless it lies in a corner.
    """
    found = components(ink > CUT)
    rows, columns = ink.shape
    top, left, bottom, right = found.boxes.T
    sides = np.sum([top == 0, left == 0, bottom == rows, right == columns], axis=0)
    touches = sides > 0
    band = BAND * min(rows, columns)
    within = (bottom < band) | (right < band) | (top > rows - band) | (left > columns - band)
    if many:
        height = bottom - top
        inner = height[~touches & (height > SMALL * max(rows, columns))]
        usual = np.median(inner) if inner.size else 0
        alike = (np.abs(height / max(usual, 1) - 1) <= ALIKE) & (right - left <= (1 + ALIKE) * usual)
        touches &= ~alike | (sides > 1)
        within = touches
    outside = np.append(touches | within, False)[found.labels]
    return _widened(outside) if outside.any() else None


def apart(ink: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Return ``ink`` (rows, columns) without the components next to ``outside``: remains of its rim."""
    found = components(ink > CUT)
    rim = np.unique(found.labels[_widened(outside)])
    return np.where(_widened(np.isin(found.labels, rim[rim >= 0])), 0, ink)


def _widened(mask: np.ndarray) -> np.ndarray:
    size = 2 * round(MARGIN * min(mask.shape)) + 3
    return max_filter(mask, (size, size))
