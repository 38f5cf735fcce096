"""Digits drawn by the program, so that training needs no download.

The ink of a stroke is a sum of round Gaussian dots along the pen's path. A round Gaussian is the product of one in x
and one in y, so all dots of a digit together are ONE matrix product, (28, points) times (points, 28). That is far less
work than computing the distance of every pixel to every piece of the path. The logarithm of the sum gives this
distance, in dot widths, but rounded where strokes meet, as real ink is.

The pixels are the same on every machine: the factors of the product have few bits, so that it is exact, and all else is
made of operations that IEEE 754 defines to the last bit.
"""

import math
from collections.abc import Iterator

import numpy as np

from distlenet.arithmetic.draws import Draws
from distlenet.arithmetic.functions import exp, log, sin
from distlenet.data.file.header import BLOCK_ROWS
from distlenet.data.file.writer import Block, BlockStream, Progress
from distlenet.data.sources.dataset import Dataset
from distlenet.data.sources.handwriting import distances, on_grid, write_digits
from distlenet.data.sources.shapes import WAYS, Way
from distlenet.errors import ConfigError, DataError

SIDE = 28  # pixels along an image
BOX = 20  # side in pixels of the box that a digit fills, as in MNIST
FIRST_TEST_DIGIT = 1_000_000_000  # far above all training digits, so that test digits do not depend on their number
BLOCK = 500  # images drawn together by one generator: an image's bits depend only on the seed and its number

_DOT = 0.4  # width (sigma) of a dot divided by the pen's radius: smaller is sharper where strokes meet
_END = 0.68  # how far the ink extends beyond the free end of a stroke, in radii; follows from _DOT
_FAINT = 2.0**-19  # ink of pixels that are certainly paper: 5.1 dot widths from the path
_TOGETHER = 25  # images whose dots are computed together: they stay in the cache


def _fit(points: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Scale paths (2, P, n) so that their ink just fits the box in the middle of the image.

    ``reach`` (P, n) is the distance in pixels that the ink extends from each point. Returns the points in pixels.
    """
    scale = np.full(points.shape[2], float(BOX))
    for _ in range(4):  # the reach does not scale with the path, but is small: this converges fast
        low, high = (scale * points - reach).min(axis=1), (scale * points + reach).max(axis=1)  # (2, n)
        scale *= BOX / (high - low).max(axis=0)
    middle = 0.5 * (low + high)
    return scale * points - middle[:, None] + (SIDE - 1) / 2


def _bell(t: np.ndarray) -> np.ndarray:
    """Return exp(-t) of t from 0, float32, in place: as the 64th power of a short series, good where t is below 16."""
    np.minimum(t, np.float32(32), out=t)
    t *= np.float32(-1 / 64)
    bell = np.full_like(t, 1 / 24)
    for factorial in (6, 2, 1, 1):
        bell *= t
        bell += np.float32(1 / factorial)
    for _ in range(6):
        bell *= bell
    return bell


def _ink(points: np.ndarray, length: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return the ink (n, 28, 28) of paths of points (2, n, P) in pixels: 1 in the middle of a long straight stroke.

    ``length`` (n, P) is the length of path that each dot represents, ``sigma`` (n, P) its width, both in pixels.
    """
    pixel = np.arange(SIDE)[:, None]
    narrow = math.sqrt(0.5) / sigma
    weight = length / (sigma * math.sqrt(2 * math.pi))
    ink = np.empty((len(sigma), SIDE, SIDE))
    for first in range(0, len(ink), _TOGETHER):
        part = slice(first, first + _TOGETHER)
        away = ((points[:, part, None] - pixel) * narrow[part, None]).astype(np.float32)  # (2, n, 28, P)
        column, row = _bell(np.square(away, out=away))
        np.matmul(on_grid(row * weight[part, None]), on_grid(column).swapaxes(1, 2), out=ink[part])
    return ink


def _centre(images: np.ndarray) -> np.ndarray:
    """Shift images (n, 28, 28) by whole pixels so that the centre of mass of their ink is at pixel (14, 14)."""
    pixel, total = np.arange(SIDE), images.sum(axis=(1, 2))
    rows, columns = (
        (pixel - np.rint(SIDE / 2 - images.sum(axis=axis) @ pixel / total).clip(-4, 4)[:, None]).astype(int)
        for axis in (2, 1)
    )  # (n, 28) each: source indices of the pixels; 4 is the margin of the box, so no ink leaves the image
    return images[np.arange(len(images))[:, None, None], rows[:, :, None] % SIDE, columns[:, None] % SIDE]


def _draw_block(seed: int, block: int, ways: tuple[Way, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``BLOCK`` images (BLOCK, 28, 28) uint8 and labels (BLOCK,) uint8 of one block."""
    draws = Draws([seed, block], [0, 0, 0, 0])
    labels = draws.permutation(np.arange(BLOCK) % 10).astype(np.uint8)
    points, joined = write_digits(labels, draws, ways)

    # pens are thin or thick, and their pressure varies along the path; the edge of the ink is about a pixel wide
    radius = (1.25 * exp(0.3 * draws.standard_normal((BLOCK, 1)))).clip(0.7, 2.6)
    phase, waves = draws.random((2, BLOCK, 1))
    along = np.arange(points.shape[1]) / (points.shape[1] - 1)
    press = radius * (1 + 0.25 * sin(2 * math.pi * (phase + (0.5 + 2 * waves) * along)))  # (BLOCK, P) pixels
    edge = draws.uniform(0.9, 1.4, (BLOCK, 1))

    both_sides = np.pad(joined, ((0, 0), (1, 0))) * np.pad(joined, ((0, 0), (0, 1)))
    reach = press * np.where(both_sides, 1, _END) + 0.5 * edge
    points = _fit(np.ascontiguousarray(points.T), np.ascontiguousarray(reach.T)).swapaxes(1, 2)  # (2, BLOCK, P)
    step = 0.5 * distances(np.moveaxis(points, 0, 2)) * joined
    length = np.pad(step, ((0, 0), (1, 0))) + np.pad(step, ((0, 0), (0, 1)))
    ink = _ink(points, length, _DOT * press)
    grey = np.zeros(ink.shape)
    inked = np.nonzero(ink > _FAINT)
    distance = np.sqrt(-2 * log(np.minimum(ink[inked], 1)))  # from the path, in dot widths
    grey[inked] = 0.5 + (_DOT * radius / edge)[inked[0], 0] * (1 / _DOT - distance)
    return _centre(np.rint(255 * grey.clip(0, 1)).astype(np.uint8)), labels


def draw_digits(count: int, seed: int, start: int = 0, ways: tuple[Way, ...] = WAYS) -> tuple[np.ndarray, np.ndarray]:
    """Draw images number ``start`` to ``start + count - 1`` of a seed, with all digits equally often.

    Returns images (count, 28, 28) uint8, 0 for paper to 255 for ink, and labels (count,) uint8, 0 to 9. An image
    depends only on the seed (0 to 2**64 - 1) and its number, not on ``start`` and ``count``; it has the same pixels on
    every machine.
    """
    for name, value in (("count", count), ("seed", seed), ("start", start)):
        if value < 0 or value >= 2**64:
            raise ConfigError(f"drawn digits: {name} is {value}, expected 0 to 2**64 - 1")
    images = np.empty((count, SIDE, SIDE), np.uint8)
    labels = np.empty(count, np.uint8)
    for block in range(start // BLOCK, -(-(start + count) // BLOCK)):
        first = max(start, block * BLOCK)
        last = min(start + count, (block + 1) * BLOCK)
        drawn, written = _draw_block(seed, block, ways)
        images[first - start : last - start] = drawn[first - block * BLOCK : last - block * BLOCK]
        labels[first - start : last - start] = written[first - block * BLOCK : last - block * BLOCK]
    return images, labels


def read_drawn(
    place: None, progress: Progress, *, train: int = 60000, test: int = 10000, seed: int = 1998, distinct: int = 0
) -> Dataset:
    """Return ``train`` and ``test`` digits that are drawn while they are written; raises DataError.

    With ``distinct`` above 0, only that many training digits are drawn, held in memory and repeated. This makes a large
    file quickly, for measuring speed; its validation images are then also among the training images.
    """
    if train < 1 or test < 1 or train > FIRST_TEST_DIGIT:
        raise DataError(f"--train {train} --test {test}: expected 1 to {FIRST_TEST_DIGIT:,} digits each")
    source, drawn = f"drawn by distlenet from seed {seed}: not MNIST, no handwriting", _drawn(train, seed)
    if 0 < distinct < train:
        source += f"; the first {distinct:,} training images are repeated"
        drawn = _drawn(train, seed, distinct=distinct)
    return Dataset(drawn, _drawn(test, seed, FIRST_TEST_DIGIT), "drawn digits", tuple("0123456789"), source)


def _drawn(count: int, seed: int, start: int = 0, distinct: int = 0) -> BlockStream:
    """Return ``count`` digits of a seed from number ``start``; if ``distinct`` is not 0, that many, repeated."""

    def blocks() -> Iterator[Block]:
        few = draw_digits(distinct, seed, start) if distinct else None
        for row in range(0, count, BLOCK_ROWS):
            rows = np.arange(row, min(row + BLOCK_ROWS, count))
            if few:
                yield few[0][rows % distinct], few[1][rows % distinct]
            else:
                yield draw_digits(len(rows), seed, start + row)

    return BlockStream(count, (SIDE, SIDE), blocks)
