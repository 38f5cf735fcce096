"""Random handwriting: the pen's path for each of many digits, as points along its strokes.

A stroke is a Catmull-Rom curve through its control points. Such a curve is linear in the control points, so each way of
writing has one fixed matrix from control points to points of the path, and a whole block of digits is a few batched
products.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from distlenet.data.sources.shapes import WAYS, Way

POINTS = 96  # points along the path of one digit; their distance is less than the width of the pen


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
    weights = 0.5 * np.stack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3], axis=1
    )
    matrix = np.zeros((len(at), controls))
    for k in range(4):
        np.add.at(matrix, (np.arange(len(at)), padded[segment + k]), weights[:, k])
    return matrix


def _path(strokes: list[list[int]], examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the curve matrix (POINTS, C) of one way and its pen-down marks (POINTS - 1,).

    The points are spaced evenly by the mean length of the segments in the examples (E, C, 2).
    """
    lengths = [np.linalg.norm(np.diff(examples[:, stroke], axis=1), axis=2).mean(axis=0) for stroke in strokes]
    share = np.array([length.sum() for length in lengths])
    stops = np.round(np.cumsum(share) / share.sum() * POINTS).astype(int)
    curve, joined = [], np.ones(POINTS)
    for stroke, length, points in zip(strokes, lengths, np.diff(stops, prepend=0), strict=True):
        travelled = np.concatenate([[0], np.cumsum(length + 1e-6 * length.sum())])
        at = np.interp(np.linspace(0, travelled[-1], points), travelled, np.arange(len(stroke)))
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
def bank() -> Bank:
    """Return all ways of writing as arrays (built once)."""
    parsed = [_parse(way) for way in WAYS]
    examples_max = max(len(examples) for _, examples in parsed)
    controls = max(examples.shape[1] for _, examples in parsed)
    shares = np.cumsum([[way.share * (way.digit == digit) for way in WAYS] for digit in range(10)], axis=1)
    out = Bank(
        chance=shares / shares[:, -1:],
        examples=np.zeros((len(WAYS), examples_max, controls, 2), np.float32),
        present=np.zeros((len(WAYS), examples_max), np.float32),
        ends=np.zeros((len(WAYS), controls, controls), np.float32),
        curve=np.zeros((len(WAYS), POINTS, controls), np.float32),
        joined=np.zeros((len(WAYS), POINTS - 1), np.float32),
    )
    for i, (strokes, examples) in enumerate(parsed):
        n, c, _ = examples.shape
        out.examples[i, :n, :c] = examples
        out.present[i, :n] = 1
        out.ends[i, :c, :c] = _free_ends(strokes, c)
        out.curve[i, :, :c], out.joined[i] = _path(strokes, examples)
    return out


def _controls(way: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return control points (n, C, 2), centred on 0, for digits written in the ways ``way`` (n,)."""
    ways = bank()
    # a gamma variate with a shape below 1 is usually small, so a digit resembles one or two of the examples
    share = ways.present[way] * (rng.standard_gamma(0.4, ways.present[way].shape, np.float32) + 1e-6)
    share /= share.sum(axis=1, keepdims=True)
    controls = np.einsum("ne,necd->ncd", share, ways.examples[way]) - np.float32(0.5)

    # an unsteady hand, and strokes that are too short or too long
    unsteady = rng.uniform(0.01, 0.08, (len(way), 1, 1)).astype(np.float32)
    controls += unsteady * rng.standard_normal(controls.shape, np.float32)
    longer = rng.uniform(-0.5, 0.4, (*controls.shape[:2], 1)).astype(np.float32)  # in control point spacings
    return controls + longer * (ways.ends[way] @ controls)


def _page(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return points (n, P, 2) after a random smooth warp, stretch, slant and rotation of each digit."""
    n, (x, y) = len(points), np.moveaxis(points, 2, 0)
    bend = rng.uniform(-0.3, 0.3, (2, 3, n, 1)).astype(np.float32)
    square = np.stack([x * x, x * y, y * y])
    x, y = x + (bend[0] * square).sum(axis=0), y + (bend[1] * square).sum(axis=0)

    normal = rng.standard_normal((3, n, 1), np.float32)
    x = np.exp(0.22 * normal[0]) * x - (0.12 + 0.26 * normal[1]) * y  # most hands lean to the right
    cosine, sine = np.cos(0.08 * normal[2]), np.sin(0.08 * normal[2])  # the standard deviation is 5 degrees
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=2)


def write_digits(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the pen's path for each of ``labels`` (n,): points (n, POINTS, 2) and pen-down marks.

    Points are (x, y) with y downwards, about one unit high. The marks (n, POINTS - 1) are 1 where the pen draws from a
    point to the next and 0 where it is lifted.
    """
    ways = bank()
    way = (rng.random((len(labels), 1)) >= ways.chance[labels]).sum(axis=1)
    return _page(ways.curve[way] @ _controls(way, rng), rng), ways.joined[way]
