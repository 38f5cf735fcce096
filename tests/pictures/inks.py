"""The ink of the tests: MNIST's or drawn digits scaled up, and digits written with other pens.

Everything here is coverage by ink, (rows, columns) float, 0 for paper to 1 for ink.
"""

import itertools

import numpy as np
from PIL import Image, ImageDraw

from distlenet.data.sources.handwriting import write_digits

Rng = np.random.Generator


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
    points, joined = points[0], joined[0]
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
    terms, values = [], []
    for (x, y), (u, v) in zip(corners, moved, strict=True):  # (x, y) of the result comes from (u, v)
        terms += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    image = Image.fromarray(np.uint8(255 * cover))
    weights = np.linalg.solve(terms, values)
    seen = image.transform(image.size, Image.Transform.PERSPECTIVE, weights, Image.Resampling.BILINEAR)
    return np.asarray(seen, float) / 255
