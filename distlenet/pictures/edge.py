"""Finds what lies at the picture's edge: a table, a binding, a dark strip, a frame, a neighbour's part."""

import numpy as np

from distlenet.pictures.digits import CUT, components
from distlenet.pictures.filters import max_filter

BAND = 0.1  # ink that stays within this share of the shorter side from the border is not the digit
MARGIN = 0.01  # width covered around such ink, as a share of the shorter side: its blurred rim


def at_edge(ink: np.ndarray) -> np.ndarray | None:
    """Return where ``ink`` (rows, columns) belongs to what lies at the edge, or None if nothing does."""
    found = components(ink > CUT)
    rows, columns = ink.shape
    top, left, bottom, right = found.boxes.T
    touches = (top == 0) | (left == 0) | (bottom == rows) | (right == columns)
    band = BAND * min(rows, columns)
    within = (bottom < band) | (right < band) | (top > rows - band) | (left > columns - band)
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
