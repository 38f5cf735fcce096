"""Separates digits that touch: cuts where the ink is thin and the network recognises the parts best.

Candidate cuts are paths from top to bottom that cross little ink and go around it where they can. Dynamic programming
finds the subset of cuts with the highest score: the sum of the logarithms of the network's probabilities for the parts,
minus a price for the ink that the cuts cross and for parts that are too wide. The prices are a compromise: lower prices
separate more touching digits but cut more single digits in two.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from distlenet.pictures.box import normalized, stroke_width

REACH = 0.04  # least distance between two cuts, as a share of the height
ASIDE = 0.5  # cost of moving one column aside, in pixels of ink
THICKEST = 1.7  # most ink that a cut may cross, in stroke widths: a cut through a 0 crosses 2
PRICE = 1.5  # price of crossing one stroke width, as a logarithm of probability
NARROW = 0.55  # ink narrower than this is not cut, as a share of its height
LOWEST = 0.5  # least height of a part, as a share of the whole's
WIDEST = 1.5  # largest width of a part, as a share of the whole's height
USUAL = 1.05  # largest usual width of a digit, divided by its height
WIDE = 20.0  # price of each height by which a part is wider than that


@dataclass(frozen=True)
class Cut:
    """A path from top to bottom."""

    columns: np.ndarray  # (rows,) its column in each row
    crossed: float  # ink that it crosses, in stroke widths


def separated(ink: np.ndarray, shape: tuple[int, int], likely: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
    """Return the digits in ``ink`` (rows, columns) from left to right, each as ink of the same shape.

    ``likely`` returns the class probabilities of a normalised picture of ``shape``.
    """
    rows, columns = ink.shape
    if columns < NARROW * rows:
        return [ink]
    cuts = [Cut(np.full(rows, -1.0), 0.0), *_proposed(ink), Cut(np.full(rows, columns + 1.0), 0.0)]
    best: list[tuple[float, list[np.ndarray]]] = [(0.0, [])]
    column = np.arange(columns)
    for end in range(1, len(cuts)):
        ways: list[tuple[float, list[np.ndarray]]] = [(-np.inf, [])]
        for start in range(end):
            left, right = cuts[start].columns, cuts[end].columns
            too_wide = np.mean(right.clip(0, columns) - left.clip(0, columns)) > WIDEST * rows
            if too_wide or best[start][0] == -np.inf:
                continue
            part = np.where((column > left[:, None]) & (column <= right[:, None]), ink, 0)
            score = _score(part, rows, shape, likely) - PRICE * cuts[end].crossed
            ways.append((best[start][0] + score, [*best[start][1], part]))
        best.append(max(ways, key=lambda way: way[0]))
    return best[-1][1] or [ink]


def _proposed(ink: np.ndarray) -> list[Cut]:
    """Return the cuts that cross less ink than all nearby ones, from left to right."""
    rows, columns = ink.shape
    middle = rows // 2
    down, from_above = _cheapest(ink[:middle])
    up, from_below = _cheapest(ink[middle:][::-1])
    cost = (down + up) / stroke_width(ink)
    reach = max(2, round(REACH * rows))
    cuts: list[Cut] = []
    for column in range(reach, columns - reach):
        if cost[column] > THICKEST or cost[column] > cost[column - reach : column + reach + 1].min():
            continue
        path = np.concatenate([_followed(from_above, column), _followed(from_below, column)[::-1]])
        crossed = float(ink[np.arange(rows), path].sum() / stroke_width(ink))
        if not cuts or np.abs(path - cuts[-1].columns).mean() >= reach:
            cuts.append(Cut(path.astype(float), crossed))
    return cuts


def _cheapest(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cost (columns,) of the cheapest path down to each column of the last row, and each step's origin."""
    steps = np.empty(ink.shape, int)
    cost = np.zeros(ink.shape[1])
    columns = np.arange(ink.shape[1])
    for row, here in enumerate(ink):
        padded = np.pad(cost, 1, constant_values=np.inf)
        ways = np.stack([padded[1:-1], padded[:-2] + ASIDE, padded[2:] + ASIDE])
        choice = ways.argmin(axis=0)
        steps[row] = columns + np.array([0, -1, 1])[choice]
        cost = ways.min(axis=0) + here
    return cost, steps


def _followed(steps: np.ndarray, column: int) -> np.ndarray:
    """Return the column in each row (rows,) of the path that ends at ``column`` in the last row."""
    path = np.empty(len(steps), int)
    for row in range(len(steps) - 1, -1, -1):
        path[row] = column
        column = steps[row, column]
    return path


def _score(part: np.ndarray, height: int, shape: tuple[int, int], likely: Callable) -> float:
    """Return the logarithm of the probability that ``part`` is one digit, minus the price of its width."""
    rows = np.flatnonzero((part > 0.5).any(axis=1))
    if not len(rows) or np.ptp(rows) + 1 < LOWEST * height:
        return -np.inf
    columns = np.flatnonzero((part > 0.5).any(axis=0))
    wide = (np.ptp(columns) + 1) / (np.ptp(rows) + 1) - USUAL
    best = max(float(likely(normalized(part, shape)).max()), 1e-300)  # a probability of 0 would give minus infinity
    return float(np.log(best) - WIDE * max(wide, 0.0))
