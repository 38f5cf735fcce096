"""Digits drawn by the program, so that training needs no download.

The ink of a stroke is a sum of round Gaussian dots along the pen's path. A round Gaussian is the product of one in x
and one in y, so all dots of a digit together are ONE matrix product, (28, points) times (points, 28). That is far less
work than computing the distance of every pixel to every piece of the path. The logarithm of the sum gives this
distance, in dot widths, but rounded where strokes meet, as real ink is.
"""

import math
from collections.abc import Iterator

import numpy as np

from distlenet.data.file.header import BLOCK_ROWS
from distlenet.data.file.writer import Block, BlockStream, Progress
from distlenet.data.sources.dataset import Dataset
from distlenet.data.sources.handwriting import write_digits
from distlenet.errors import ConfigError, DataError

SIDE = 28  # pixels along an image
BOX = 20  # side in pixels of the box that a digit fills, as in MNIST
FIRST_TEST_DIGIT = 1_000_000_000  # far above all training digits, so that test digits do not depend on their number
BLOCK = 500  # images drawn together by one generator: an image's bits depend only on the seed and its number

_DOT = 0.4  # width (sigma) of a dot divided by the pen's radius: smaller is sharper where strokes meet
_END = 0.68  # how far the ink extends beyond the free end of a stroke, in radii; follows from _DOT


def _fit(points: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Scale paths (n, P, 2) so that their ink just fits the box in the middle of the image.

    ``reach`` (n, P) is the distance in pixels that the ink extends from each point. Returns the points in pixels.
    """
    reach, scale = reach[..., None], np.full((len(points), 1, 1), BOX, np.float32)
    for _ in range(4):  # the reach does not scale with the path, but is small: this converges fast
        low, high = (scale * points - reach).min(axis=1), (scale * points + reach).max(axis=1)
        scale *= BOX / (high - low).max(axis=1)[:, None, None]
    middle = 0.5 * (low + high)
    return scale * points - middle[:, None] + np.float32((SIDE - 1) / 2)


def _distance(points: np.ndarray, length: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return the distances (n, 28, 28), in sigmas, of the pixels from paths of points (n, P, 2) in pixels.

    ``length`` (n, P) is the length of path that each dot represents, ``sigma`` (n, P) its width, both in pixels.
    """
    pixel = np.arange(SIDE, dtype=np.float32)
    narrow = np.float32(math.sqrt(0.5)) / sigma[..., None]
    x, y = ((points[..., d, None] - pixel) * narrow for d in (0, 1))  # (n, P, 28) each
    column, row = np.exp(-x * x), np.exp(-y * y)
    row *= (length / (sigma * np.float32(math.sqrt(2 * math.pi))))[..., None]
    ink = row.transpose(0, 2, 1) @ column  # (n, 28, 28), 1 in the middle of a long straight stroke
    return np.sqrt(-2 * np.log(ink.clip(1e-30, 1)))


def _centre(images: np.ndarray) -> np.ndarray:
    """Shift images (n, 28, 28) by whole pixels so that the centre of mass of their ink is at pixel (14, 14)."""
    pixel, total = np.arange(SIDE), images.sum(axis=(1, 2))
    rows, columns = (
        (pixel - np.rint(SIDE / 2 - images.sum(axis=axis) @ pixel / total).clip(-4, 4)[:, None]).astype(int)
        for axis in (2, 1)
    )  # (n, 28) each: source indices of the pixels; 4 is the margin of the box, so no ink leaves the image
    return images[np.arange(len(images))[:, None, None], rows[:, :, None] % SIDE, columns[:, None] % SIDE]


def _draw_block(seed: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``BLOCK`` images (BLOCK, 28, 28) uint8 and labels (BLOCK,) uint8 of one block."""
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, block], np.uint64)))
    labels = rng.permutation(np.arange(BLOCK) % 10).astype(np.uint8)
    points, joined = write_digits(labels, rng)

    # pens are thin or thick, and their pressure varies along the path; the edge of the ink is about a pixel wide
    radius = (1.25 * np.exp(0.3 * rng.standard_normal((BLOCK, 1), np.float32))).clip(0.7, 2.6)
    phase, waves = rng.random((2, BLOCK, 1), np.float32)
    along = np.linspace(0, 1, points.shape[1], dtype=np.float32)
    press = radius * (1 + 0.25 * np.sin(2 * np.pi * (phase + (0.5 + 2 * waves) * along)))  # (BLOCK, P) pixels
    edge = rng.uniform(0.9, 1.4, (BLOCK, 1)).astype(np.float32)

    both_sides = np.pad(joined, ((0, 0), (1, 0))) * np.pad(joined, ((0, 0), (0, 1)))
    points = _fit(points, press * np.where(both_sides, 1, np.float32(_END)) + 0.5 * edge)
    step = 0.5 * np.linalg.norm(np.diff(points, axis=1), axis=2) * joined
    length = np.pad(step, ((0, 0), (1, 0))) + np.pad(step, ((0, 0), (0, 1)))
    distance = _distance(points, length, _DOT * press)
    grey = 0.5 + (_DOT * radius / edge)[..., None] * (1 / _DOT - distance)
    return _centre(np.rint(255 * grey.clip(0, 1)).astype(np.uint8)), labels


def draw_digits(count: int, seed: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw images number ``start`` to ``start + count - 1`` of a seed, with all digits equally often.

    Returns images (count, 28, 28) uint8, 0 for paper to 255 for ink, and labels (count,) uint8, 0 to 9. An image
    depends only on the seed (0 to 2**64 - 1) and its number, not on ``start`` and ``count``. On a very different CPU
    a few grey levels in a million differ by one, because its BLAS rounds differently.
    """
    for name, value in (("count", count), ("seed", seed), ("start", start)):
        if value < 0 or value >= 2**64:
            raise ConfigError(f"drawn digits: {name} is {value}, expected 0 to 2**64 - 1")
    images = np.empty((count, SIDE, SIDE), np.uint8)
    labels = np.empty(count, np.uint8)
    for block in range(start // BLOCK, -(-(start + count) // BLOCK)):
        first = max(start, block * BLOCK)
        last = min(start + count, (block + 1) * BLOCK)
        drawn, written = _draw_block(seed, block)
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
