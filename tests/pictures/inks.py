"""The ink of the tests: MNIST's or drawn digits scaled up, and digits written with other pens.

Everything here is coverage by ink, (rows, columns) float, 0 for paper to 1 for ink.
"""

import itertools
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from distlenet.data.sources.handwriting import _parse, _path, write_digits
from distlenet.data.sources.idx import read_idx
from distlenet.data.sources.shapes import Way

Rng = np.random.Generator
Ink = Callable[[Rng, float], tuple[np.ndarray, str]]  # of a height in pixels: coverage and label
# ways of writing that are rare in MNIST
FLAGGED = (Way(1, 1, "0 1 1 2", ("0,52 45,0 45,50 42,100", "8,40 50,0 48,50 46,100", "0,65 50,0 46,50 40,100")),)
STRAIGHT = (
    Way(
        2, 1, "0 1 2 3 4 4 5", ("10,20 45,0 75,25 45,65 5,100 75,99 150,98", "5,25 40,0 70,22 40,62 0,98 80,97 165,97")
    ),
    Way(4, 1, "0 1 1 2 | 3 4", ("50,0 0,62 130,60 62,30 60,140", "40,0 5,55 120,54 70,10 68,150")),
    Way(7, 1, "0 1 1 2", ("0,4 110,0 45,100", "-20,2 105,0 60,110")),
)
UNUSUAL = (
    Way(
        4, 1, "0 1 2 3 4 5 6", ("85,0 40,35 8,72 25,86 58,62 75,30 62,110", "75,0 35,35 5,65 20,80 60,60 78,20 50,105")
    ),
    Way(5, 1, "0 1 1 2 2 3 4", ("95,0 30,2 22,45 75,48 70,75 30,100", "100,5 35,0 25,50 70,52 62,80 10,98")),
    Way(7, 1, "0 1 2 2 3 | 4 5", ("5,25 10,4 85,6 40,100 25,55 85,48", "0,35 8,2 90,4 45,100 20,58 95,45")),
)


def enlarged(digit: np.ndarray, factor: float, sharp: float = 0.0) -> np.ndarray:
    """Return a 28x28 uint8 ``digit`` scaled up smoothly and cut to its ink.

    ``sharp`` 0 keeps the soft edges of the scaling, 1 makes them a pixel or two wide.
    """
    rows, columns = np.nonzero(digit > 25)
    digit = np.pad(digit[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1], 1)
    size = tuple(max(3, round(side * factor)) for side in digit.shape[::-1])
    cover = np.asarray(Image.fromarray(digit).resize(size, Image.Resampling.BICUBIC), float) / 255
    return ((cover - 0.5) * (1 + sharp * max(0.0, 0.7 * factor - 1)) + 0.5).clip(0, 1)


def penned(label: int, height: float, width: float, rng: Rng, finer: int = 4) -> np.ndarray:
    """Return a newly written digit, ``height`` pixels high, with a pen of ``width`` pixels."""
    points, joined = write_digits(np.array([label], np.uint8), rng)
    return traced(points[0], joined[0], height, width, finer)


def traced(points: np.ndarray, joined: np.ndarray, height: float, width: float, finer: int = 4) -> np.ndarray:
    """Return the ink of a pen ``width`` pixels wide along ``points`` (P, 2), scaled to be ``height`` pixels high."""
    points = (points - points.min(axis=0)) * (height - width) / np.ptp(points[:, 1])
    size = np.ceil(points.max(axis=0) + width + 2).astype(int)
    image = Image.new("L", tuple(int(side) * finer for side in size))
    pen = ImageDraw.Draw(image)
    places = [tuple((point + width / 2 + 1) * finer) for point in points]
    radius = width * finer / 2
    for (start, end), down in zip(itertools.pairwise(places), joined, strict=True):
        if down:
            pen.line([start, end], fill=255, width=max(1, round(width * finer)))
    for number, (x, y) in enumerate(places):
        if joined[min(number, len(joined) - 1)] or joined[max(0, number - 1)]:
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    return np.asarray(image.resize(tuple(map(int, size)), Image.Resampling.BOX), float) / 255


def placed(cover: np.ndarray, rng: Rng, room: float = 0.7) -> np.ndarray:
    """Return ``cover`` at a random position on paper that is larger by about the share ``room`` along each side."""
    side = max(cover.shape)
    shape = [part + round(side * room * rng.uniform(0.6, 1.4)) + 2 for part in cover.shape]
    paper = np.zeros(shape)
    top, left = (int(rng.integers(1, whole - part)) for whole, part in zip(shape, cover.shape, strict=True))
    paper[top : top + cover.shape[0], left : left + cover.shape[1]] = cover
    return paper


def cropped(cover: np.ndarray, rng: Rng) -> np.ndarray:
    """Return ``cover`` on paper that ends where the ink ends, on some sides."""
    paper = placed(cover, rng)
    rows, columns = (np.flatnonzero(paper.max(axis=axis) > 0.5) for axis in (1, 0))
    sides = rng.random(4) < 0.6
    return paper[
        rows[0] if sides[0] else 0 : rows[-1] + 1 if sides[1] else None,
        columns[0] if sides[2] else 0 : columns[-1] + 1 if sides[3] else None,
    ]


def tilted(cover: np.ndarray, rng: Rng, share: float = 0.12) -> np.ndarray:
    """Return ``cover`` as a camera held at an angle sees it: each corner moved by up to ``share`` of the sides."""
    rows, columns = cover.shape
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], float)
    moved = corners + rng.uniform(-share, share, (4, 2)) * [columns, rows]
    return np.asarray(seen_between(Image.fromarray(np.uint8(255 * cover)), moved), float) / 255


def seen_between(image: Image.Image, moved: np.ndarray) -> Image.Image:
    """Return the part of ``image`` between the corners ``moved`` (4, 2), clockwise from the top left."""
    columns, rows = image.size
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], float)
    terms, values = [], []
    for (x, y), (u, v) in zip(corners, moved, strict=True):  # (x, y) of the result comes from (u, v)
        terms += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    weights = np.linalg.solve(terms, values)
    return image.transform(image.size, Image.Transform.PERSPECTIVE, weights, Image.Resampling.BILINEAR)


@cache
def mnist() -> tuple[np.ndarray, np.ndarray] | None:
    """Return MNIST's test images and labels, or None without them."""
    folder = Path(os.environ.get("DISTLENET_MNIST") or "/nowhere")
    images, labels = (next(folder.glob(f"t10k-{kind}*"), None) for kind in ("images", "labels"))
    return (read_idx(images), read_idx(labels)) if images and labels else None


def usual(rng: Rng, height: float) -> tuple[np.ndarray, str]:
    known = mnist()
    if known is None:
        label = int(rng.integers(10))
        return penned(label, height, height * rng.uniform(0.05, 0.12), rng), str(label)
    number = int(rng.integers(len(known[0])))
    soft = enlarged(known[0][number], height / 20)
    return ((soft - rng.uniform(0.35, 0.55)) * height / 30 + 0.5).clip(0, 1), str(known[1][number])


def formed(ways: tuple[Way, ...], thin: float = 0.04, thick: float = 0.1) -> Ink:
    """Digits in the given ways: a mixture of the examples of one of them, by an unsteady hand.

    The pen is ``thin`` to ``thick`` heights of the digit wide.
    """

    def draw(rng: Rng, height: float) -> tuple[np.ndarray, str]:
        way = ways[rng.integers(len(ways))]
        strokes, examples = _parse(way)
        controls = np.tensordot(rng.dirichlet(np.ones(len(examples))), examples, 1)
        curve, joined = _path(strokes, controls[None])
        points = curve @ (controls + 0.02 * rng.standard_normal(controls.shape))
        points = points @ [[rng.uniform(0.8, 1.1), 0], [rng.uniform(-0.25, 0.1), 1]]
        return traced(points, joined, height, height * rng.uniform(thin, thick)), str(way.digit)

    return draw
