"""Random handwriting: the pen's path for each of many digits, as points along its strokes.

A stroke is a Catmull-Rom curve through its control points. Such a curve is linear in the control points, so each way of
writing has one fixed matrix from control points to points of the path, and a whole block of digits is a few batched
products.

The points have the same bits on every machine: all sums have a fixed order, or are exact.
"""

import math
from collections.abc import Iterable
from functools import cache, reduce
from typing import NamedTuple

import numpy as np

from distlenet.arithmetic.draws import Draws
from distlenet.arithmetic.functions import cos, exp, sin
from distlenet.data.sources.shapes import ANY, WAYS, Way

POINTS = 96  # points along the path of one digit; their distance is less than the width of the pen
GRID = 1.5 * 2.0**30  # a number this large has the last bit 2^-22


class Bank(NamedTuple):
    """Every way of writing as arrays, padded to the same sizes; W ways, E examples, C control points."""

    chance: np.ndarray  # (10, W) cumulative probabilities of the ways of each digit
    examples: np.ndarray  # (W, E, C, 2) control points of the examples
    present: np.ndarray  # (W, E) 1 if the example exists
    ends: np.ndarray  # (W, C, C) times control points: the direction of each free end of a stroke
    curve: np.ndarray  # (W, POINTS, C) times control points: points along the path
    joined: np.ndarray  # (W, POINTS - 1) 1 if the pen is down between a point and the next


def _catmull_rom(stroke: list[int], at: np.ndarray, controls: int) -> np.ndarray:
    """Return the matrix (len(at), controls) from control points to the curve at parameters ``at``."""
    padded = np.array([stroke[0], *stroke, stroke[-1]])
    segment = np.minimum(at.astype(int), len(stroke) - 2)
    t = at - segment
    t2 = t * t
    t3 = t2 * t
    weights = 0.5 * np.stack([-t + 2 * t2 - t3, 2 - 5 * t2 + 3 * t3, t + 4 * t2 - 3 * t3, t3 - t2], axis=1)
    matrix = np.zeros((len(at), controls))
    for k in range(4):
        np.add.at(matrix, (np.arange(len(at)), padded[segment + k]), weights[:, k])
    return matrix


def distances(points: np.ndarray) -> np.ndarray:
    """Return the distances (..., P - 1) between neighbours in ``points`` (..., P, 2)."""
    x, y = np.moveaxis(np.diff(points, axis=-2), -1, 0)
    return np.sqrt(x * x + y * y)


def _mean_lengths(points: np.ndarray) -> np.ndarray:
    """Return the mean lengths (P - 1,) of the segments of ``points`` (E, P, 2) over the examples."""
    return np.array([math.fsum(lengths) / len(points) for lengths in distances(points).T])


def _path(strokes: list[list[int]], examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the curve matrix (POINTS, C) of one way and its pen-down marks (POINTS - 1,).

    The points are spaced evenly by the mean length of the segments in the examples (E, C, 2).
    """
    lengths = [_mean_lengths(examples[:, stroke]) for stroke in strokes]
    share = np.array([math.fsum(length) for length in lengths])
    stops = np.rint(np.cumsum(share) / math.fsum(share) * POINTS).astype(int)
    curve, joined = [], np.ones(POINTS)
    for stroke, length, points in zip(strokes, lengths, np.diff(stops, prepend=0), strict=True):
        travelled = np.concatenate([[0], np.cumsum(length + 1e-6 * math.fsum(length))])
        here = np.arange(points) * (travelled[-1] / (points - 1))
        segment = np.searchsorted(travelled[1:-1], here, side="right")
        at = segment + (here - travelled[segment]) / (travelled[segment + 1] - travelled[segment])
        curve.append(_catmull_rom(stroke, at, examples.shape[1]))
    joined[stops - 1] = 0
    return np.concatenate(curve), joined[:-1]


def _free_ends(strokes: list[list[int]], controls: int) -> np.ndarray:
    """Return the matrix (C, C) that maps the control points to the direction of each free end."""
    matrix = np.zeros((controls, controls))
    every = [point for stroke in strokes for point in stroke]
    for stroke in strokes:
        for end, inner in ((stroke[0], stroke[1]), (stroke[-1], stroke[-2])):
            if every.count(end) == 1:
                matrix[end, end], matrix[end, inner] = 1, -1
    return matrix


def _parse(way: Way) -> tuple[list[list[int]], np.ndarray]:
    """Return the strokes of a way as lists of indices, and its examples (E, C, 2) in heights."""
    strokes = [[int(point) for point in stroke.split()] for stroke in way.strokes.split("|")]
    pairs = [[pair.split(",") for pair in example.split()] for example in way.examples]
    return strokes, np.array(pairs, dtype=float) / 100


@cache
def bank(ways: tuple[Way, ...] = WAYS) -> Bank:
    """Return the ``ways`` of writing as arrays (built once)."""
    parsed = [_parse(way) for way in ways]
    examples_max = max(len(examples) for _, examples in parsed)
    controls = max(examples.shape[1] for _, examples in parsed)
    shares = np.cumsum([[way.share * (way.digit in (digit, ANY)) for way in ways] for digit in range(10)], axis=1)
    out = Bank(
        chance=shares / shares[:, -1:],
        examples=np.zeros((len(ways), examples_max, controls, 2)),
        present=np.zeros((len(ways), examples_max)),
        ends=np.zeros((len(ways), controls, controls)),
        curve=np.zeros((len(ways), POINTS, controls)),
        joined=np.zeros((len(ways), POINTS - 1)),
    )
    for i, (strokes, examples) in enumerate(parsed):
        n, c, _ = examples.shape
        out.examples[i, :n, :c] = examples
        out.present[i, :n] = 1
        out.ends[i, :c, :c] = _free_ends(strokes, c)
        curve, out.joined[i] = _path(strokes, examples)
        out.curve[i, :, :c] = on_grid(curve)
    return out


def on_grid(numbers: np.ndarray) -> np.ndarray:
    """Return ``numbers`` as float64, rounded to multiples of 2^-22.

    A matrix product of such numbers, whose sums stay below 2^9, is exact, whatever the order of the additions.
    """
    return np.add(numbers, GRID, dtype=np.float64) - GRID


def _controls(ways: Bank, way: np.ndarray, draws: Draws) -> np.ndarray:
    """Return control points (n, C, 2), centred on 0, for digits written in the ways ``way`` (n,) of ``ways``."""
    # a power of a normal variate is usually small, so a digit resembles one or two of the examples; this one is like a
    # gamma variate of shape 0.4
    normal = np.abs(draws.standard_normal(ways.present[way].shape))
    shares = ways.present[way] * (normal * normal * np.sqrt(normal) + 1e-6)
    shares /= _sum(shares.T)[:, None]
    mixed = (shares[:, e, None, None] * ways.examples[way, e] for e in range(shares.shape[1]))
    controls = _sum(mixed) - 0.5

    # an unsteady hand, and strokes that are too short or too long
    unsteady = draws.uniform(0.01, 0.08, (len(way), 1, 1))
    controls += unsteady * draws.standard_normal(controls.shape)
    longer = draws.uniform(-0.5, 0.4, (*controls.shape[:2], 1))  # in control point spacings
    return controls + longer * (ways.ends[way] @ controls)  # a direction is one subtraction: any order


def _sum(terms: Iterable[np.ndarray]) -> np.ndarray:
    """Return the sum of arrays, added one after the other."""
    return reduce(np.add, terms)


def _page(points: np.ndarray, draws: Draws) -> np.ndarray:
    """Return points (n, P, 2) after a random smooth warp, stretch, slant and rotation of each digit."""
    n, (x, y) = len(points), np.moveaxis(points, 2, 0)
    bend = draws.uniform(-0.3, 0.3, (2, 3, n, 1))
    across, slope, down = x * x, x * y, y * y
    x, y = (old + (b[0] * across + b[1] * slope + b[2] * down) for old, b in zip((x, y), bend, strict=True))

    normal = draws.standard_normal((3, n, 1))
    x = exp(0.22 * normal[0]) * x - (0.12 + 0.26 * normal[1]) * y  # most hands lean to the right
    cosine, sine = cos(0.08 * normal[2]), sin(0.08 * normal[2])  # the standard deviation is 5 degrees
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=2)


def write_digits(labels: np.ndarray, draws: Draws, known: tuple[Way, ...] = WAYS) -> tuple[np.ndarray, np.ndarray]:
    """Return the pen's path for each of ``labels`` (n,) in the ``known`` ways: points (n, POINTS, 2) and
    pen-down marks.

    Points are (x, y) with y downwards, about one unit high. The marks (n, POINTS - 1) are 1 where the pen draws from a
    point to the next and 0 where it is lifted.
    """
    ways = bank(known)
    way = (draws.random((len(labels), 1)) >= ways.chance[labels]).sum(axis=1)
    return _page(ways.curve[way] @ on_grid(_controls(ways, way, draws)), draws), ways.joined[way]
