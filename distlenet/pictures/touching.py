"""Separates digits that touch: cuts where the ink is thin and the network recognises the parts best.

Candidate cuts are paths from top to bottom that cross little ink and go around it where they can. Dynamic programming
finds the subset of cuts with the highest score: the sum of the scores of the parts, minus a price for each cut and for
the ink that it crosses. The score of a part is a logarithm of a probability, but a demanding one: the network takes
many a pair of digits for one digit at 99 %, and most single digits reach odds of more than 400 to 1.
"""

from collections.abc import Callable
from itertools import product

import numpy as np

from distlenet.pictures.box import normalized, stroke_width

Likely = Callable[[np.ndarray], np.ndarray]
Cut = tuple[np.ndarray, float]  # its column in each row, from top to bottom; the ink that it crosses, in stroke widths
ROWS = (0.25, 0.5, 0.75)  # rows in which cuts are looked for, as shares of the height
REACH = 0.04  # least distance between two cuts, as a share of the height
ASIDE = 0.15  # cost of moving one column aside, in pixels of ink
THICKEST = 2.5  # highest cost of a cut, in stroke widths
EACH = 0.3  # price of a cut, ...
PRICE = 1.0  # ... and of each stroke width that it crosses
NARROW = 0.55  # ink narrower than this is not cut, as a share of its height
LOWEST = 0.4  # least height of a part, as a share of the whole's
WIDEST = 1.5  # largest width of a part, as a share of the whole's height
SURE, SOFT = 6.0, 2.0  # a part with this logarithm of its odds has an even score; how gradual the score is around it
USUAL = 0.7  # largest usual width of a digit, divided by its height
WIDE = 7.0  # price of each height by which a part is wider than that


def separated(ink: np.ndarray, shape: tuple[int, int], likely: Likely) -> list[np.ndarray]:
    """Return the digits in ``ink`` (rows, columns) from left to right, each as ink of the same shape.

    ``likely`` returns the class probabilities of a normalised picture of ``shape``.
    """
    rows, columns = ink.shape
    if columns < NARROW * rows or _score(ink, rows, shape, likely) >= -EACH:  # then no cut is worth its price
        return [ink]
    cuts = [(np.full(rows, -1.0), 0.0), *_proposed(ink), (np.full(rows, columns + 1.0), 0.0)]
    best: list[tuple[float, list[np.ndarray]]] = [(0.0, [])]
    column = np.arange(columns)
    for end in range(1, len(cuts)):
        ways: list[tuple[float, list[np.ndarray]]] = [(-np.inf, [])]
        for start in range(end):
            (left, _), (right, crossed) = cuts[start], cuts[end]
            too_wide = np.mean(right.clip(0, columns) - left.clip(0, columns)) > WIDEST * rows
            if too_wide or best[start][0] == -np.inf:
                continue
            part = np.where((column > left[:, None]) & (column <= right[:, None]), ink, 0)
            score = _score(part, rows, shape, likely) - EACH - PRICE * crossed
            ways.append((best[start][0] + score, [*best[start][1], part]))
        best.append(max(ways, key=lambda way: way[0]))
    return best[-1][1] or [ink]


def _proposed(ink: np.ndarray) -> list[Cut]:
    """Return the cuts that, where they cross one of ROWS, cost less than all nearby ones, from left to right."""
    rows, columns = ink.shape
    width = stroke_width(ink)
    down, from_above = _cheapest(ink)
    up, from_below = (part[::-1] for part in _cheapest(ink[::-1]))
    cost = (down + up - ink) / width
    reach = max(2, round(REACH * rows))
    cuts: list[Cut] = []
    for row, column in product((int(share * rows) for share in ROWS), range(reach, columns - reach)):
        if cost[row, column] > min(THICKEST, cost[row, column - reach : column + reach + 1].min()):
            continue
        above = _followed(from_above[: row + 1], column)
        below = _followed(from_below[row:][::-1], column)[::-1]
        path = np.concatenate([above, below[1:]])
        if all(np.abs(path - other).mean() >= reach for other, _ in cuts):
            cuts.append((path.astype(float), float(ink[np.arange(rows), path].sum() / width)))
    return sorted(cuts, key=lambda cut: cut[0].mean())


def _cheapest(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cost of the cheapest path from the first row to each pixel, and the column it comes from."""
    costs, steps = np.empty(ink.shape), np.empty(ink.shape, int)
    cost, columns = np.zeros(ink.shape[1]), np.arange(ink.shape[1])
    for row, here in enumerate(ink):
        padded = np.pad(cost, 1, constant_values=np.inf)
        ways = np.stack([padded[1:-1], padded[:-2] + ASIDE, padded[2:] + ASIDE])
        steps[row] = columns + np.array([0, -1, 1])[ways.argmin(axis=0)]
        costs[row] = cost = ways.min(axis=0) + here
    return costs, steps


def _followed(steps: np.ndarray, column: int) -> np.ndarray:
    """Return the column in each row (rows,) of the path that ends at ``column`` in the last row."""
    path = np.empty(len(steps), int)
    for row in range(len(steps) - 1, -1, -1):
        path[row] = column
        column = steps[row, column]
    return path


def _score(part: np.ndarray, height: int, shape: tuple[int, int], likely: Likely) -> float:
    """Return the logarithm of the probability that ``part`` is one digit, minus the price of its width."""
    rows, columns = (np.flatnonzero((part > 0.5).any(axis=axis)) for axis in (1, 0))
    if not len(rows) or np.ptp(rows) + 1 < LOWEST * height:
        return -np.inf
    wide = (np.ptp(columns) + 1) / (np.ptp(rows) + 1) - USUAL
    best = float(np.clip(likely(normalized(part, shape)).max(), 1e-12, 1 - 1e-12))
    odds = np.log(best / (1 - best))
    return float(-np.log1p(np.exp((SURE - odds) / SOFT)) - WIDE * max(wide, 0.0))
