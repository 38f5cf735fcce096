"""The ten digits as pen strokes, from the program's own handwriting."""

import numpy as np

from distlenet.data.sources.handwriting import bank
from distlenet.data.sources.shapes import WAYS


def strokes_of(digit: int, size: float = 0.6, place: tuple[float, float] = (0.5, 0.5), every: int = 1) -> list:
    """Return strokes [[x, y], ...] of ``digit``, ``size`` high, its middle at ``place``; one point of ``every``."""
    ways = bank()
    way = next(i for i, way in enumerate(WAYS) if way.digit == digit)
    points = ways.curve[way] @ ways.examples[way, 0]
    points = (points - (points.min(axis=0) + points.max(axis=0)) / 2) * size + place
    lifts = np.flatnonzero(ways.joined[way] == 0) + 1
    return [[*stroke[:-1:every].tolist(), stroke[-1].tolist()] for stroke in np.split(points, lifts)]


def drawing(strokes: list, width: float = 0.06) -> dict:
    """Return the page's message for ``strokes``."""
    return {"strokes": [np.ravel(stroke).tolist() for stroke in strokes], "width": width}
