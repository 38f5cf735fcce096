"""Fifteen ways to corrupt images of digits, after MNIST-C (Mu and Gilmer 2019, "A Robustness Benchmark for Computer
Vision"): the kinds are theirs, the code is not.

Severities, one for each kind, and details are this file's own, for example a fog of smooth random fields. So figures
are not comparable with those measured on the published files of MNIST-C. Lengths are in pixels and fit 28 x 28. What
happens to an image depends on the kind and on its row in the dataset alone: not on network, ranks or chunks.

Within this file ``x`` are images (n, rows, columns) float32, 0 for paper to 1 for ink, and ``u`` the random numbers of
each, (n, m) in [0, 1). Results may lie outside 0 to 1, which ``corrupt`` clips.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from distlenet.arithmetic import NATIVE

SEED, CORRUPTION = 2019, 1906  # of the random numbers; CORRUPTION keeps them apart from those of training
BLOCK = 100  # images whose random numbers are drawn together
Each = float | np.ndarray  # (n, 1, 1)
COSINE = math.sqrt(0.75)  # of 30 degrees; the sine is 1/2
NEIGHBOURS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]


@dataclass(frozen=True)
class Corruption:
    """One kind: ``severity`` in words; ``change`` maps (x, u) to images; ``numbers``: random ones for each pixel."""

    severity: str
    change: Callable[[np.ndarray, np.ndarray], np.ndarray]
    numbers: int = 0


def corrupt(kind: str, images: np.ndarray, first: int = 0) -> np.ndarray:
    """Return ``images`` (n, rows, columns) uint8, n > 0, corrupted by ``kind``, a name in CORRUPTIONS, as uint8.

    ``first`` is the row of the first image in its dataset.
    """
    corruption, number = CORRUPTIONS[kind], list(CORRUPTIONS).index(kind)
    size = corruption.numbers * images[0].size + 3  # up to 3 more for each image
    blocks = range(first // BLOCK, (first + len(images) - 1) // BLOCK + 1)
    streams = (NATIVE.stream(SEED, CORRUPTION, number, block) for block in blocks)
    u = np.concatenate([stream.random((BLOCK, size), np.float32) for stream in streams])
    changed = corruption.change(images / np.float32(255), u[first % BLOCK :][: len(images)])
    return np.rint(255 * np.clip(changed, 0, 1)).astype(np.uint8)


def blur(x: np.ndarray, sigma: float) -> np.ndarray:
    """Return ``x`` under a Gaussian of standard deviation ``sigma`` pixels."""
    for _ in range(2):  # along the columns, then along the rows
        away = np.subtract.outer(np.arange(x.shape[2]), np.arange(x.shape[2]))
        bell = np.exp(-0.5 * (away / sigma) ** 2)
        x = np.matmul(x, bell / bell.sum(axis=0), dtype=np.float32).swapaxes(1, 2)
    return x


def grid(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the row (rows, 1) and column (1, columns) of each pixel, counted from the centre."""
    rows, columns = x.shape[1:]
    return np.arange(rows)[:, None] - (rows - 1) / 2, np.arange(columns)[None] - (columns - 1) / 2


def sample(x: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return ``x`` at positions counted from the centre, (n, rows, columns) together; bilinear, paper around."""
    n, rows, columns = x.shape
    framed = np.pad(x, ((0, 0), (1, 2), (1, 2)))
    down = np.clip(down + (rows + 1) / 2, 0, rows + 1)
    right = np.clip(right + (columns + 1) / 2, 0, columns + 1)
    row, column, image = down.astype(np.intp), right.astype(np.intp), np.arange(n)[:, None, None]
    down, right = (down - row).astype(np.float32), (right - column).astype(np.float32)
    above = framed[image, row, column] * (1 - right) + framed[image, row, column + 1] * right
    below = framed[image, row + 1, column] * (1 - right) + framed[image, row + 1, column + 1] * right
    return above * (1 - down) + below * down


def at(x: np.ndarray, a: Each, b: Each, c: Each, d: Each, e: Each = 0, f: Each = 0) -> np.ndarray:
    """Return ``x`` under an affine map: a pixel comes from (a row + b column + e, c row + d column + f)."""
    down, right = grid(x)
    return sample(x, a * down + b * right + e, c * down + d * right + f)


def either(u: np.ndarray, place: int = 0) -> np.ndarray:
    """Return -1 or 1 for each image, (n, 1, 1)."""
    return np.where(u[:, place, None, None] < 0.5, -1.0, 1.0)


def shot_noise(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Count photons: Poisson numbers, by the inverse of their distribution; 5 are expected where there is full ink."""
    u, counts, below = u[:, : x[0].size].reshape(x.shape), np.zeros_like(x), np.exp(-5 * x)
    term = below.copy()
    for count in range(1, 21):
        counts += u > below
        term *= 5 * x / count
        below += term
    return counts / 5


def impulse_noise(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Replace pixels by ink or paper."""
    u = u[:, : x[0].size].reshape(x.shape)
    return np.where(u < 0.085, 0, np.where(u < 0.17, 1, x))


def glass_blur(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Blur, let pixels change places with a neighbour in two passes, and blur again."""
    x, (n, rows, columns) = blur(x, 0.7), x.shape
    flat = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge").reshape(n, -1)
    steps = [down * (columns + 2) + right for down, right in NEIGHBOURS]
    chosen = np.take(steps, (u[:, : 2 * rows * columns] * 9).astype(np.intp))
    pixels = [row * (columns + 2) + column for row in range(1, rows + 1) for column in range(1, columns + 1)]
    for place, here in enumerate(2 * pixels):
        there = (np.arange(n), here + chosen[:, place])
        flat[:, here], flat[there] = flat[there], flat[:, here].copy()
    return blur(flat.reshape(n, rows + 2, columns + 2)[:, 1:-1, 1:-1], 0.7)


def motion_blur(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Take the mean along a line of nine pixels."""
    angle, (down, right) = (u[:, 0, None, None] - 0.5) * math.pi / 2, grid(x)
    return np.mean([sample(x, down + t * np.sin(angle), right + t * np.cos(angle)) for t in range(-4, 5)], axis=0)


def fog(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Add smooth random fields, the coarser the stronger, and keep the range."""
    u = u[:, : x[0].size].reshape(x.shape)
    fields = np.sum([sigma**2 * blur(u, sigma) for sigma in (1, 2, 4, 8)], axis=0)
    low, high = fields.min(axis=(1, 2), keepdims=True), fields.max(axis=(1, 2), keepdims=True)
    return (x + 1.5 * (fields - low) / (high - low)) / 2.5


def spatter(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Cover the places where a smooth random field is high."""
    field = blur(u[:, : x[0].size].reshape(x.shape), 1.2)
    limit = field.mean(axis=(1, 2), keepdims=True) + 1.2 * field.std(axis=(1, 2), keepdims=True)
    return np.maximum(x, 0.9 * np.clip(40 * (field - limit), 0, 1))


def line(x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of each pixel along and across a random line, (n, rows, columns), in pixels."""
    angle = math.pi * u[:, 0, None, None]
    down, right = (axis - 10 * (u[:, place, None, None] - 0.5) for place, axis in enumerate(grid(x), 1))
    return down * np.sin(angle) + right * np.cos(angle), down * np.cos(angle) - right * np.sin(angle)


def dotted_line(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Draw a straight line of dots."""
    along, across = line(x, u)
    return np.maximum(x, np.clip(1.7 - np.hypot((along + 2) % 4 - 2, across), 0, 1))


def zigzag(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Draw a zigzag along a straight line."""
    along, across = line(x, u)
    return np.maximum(x, np.clip(1.4 - np.abs(across - np.abs((along % 8) - 4) + 2) / math.sqrt(2), 0, 1))


def near(x: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return for each pixel its neighbour ``down`` and ``right`` of it."""
    rows, columns = x.shape[1:]
    return np.pad(x, ((0, 0), (1, 1), (1, 1)))[:, 1 + down : 1 + down + rows, 1 + right : 1 + right + columns]


def canny_edges(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return the edges (Canny 1986): steepest pixels across the edge, weak ones only if connected to strong ones."""
    x = blur(x, 1)
    down = sum(way * (2 - abs(side)) * near(x, way, side) for way, side in NEIGHBOURS)
    right = sum(way * (2 - abs(side)) * near(x, side, way) for way, side in NEIGHBOURS)
    steep = np.hypot(down, right)
    direction = np.rint(np.arctan2(down, right) * 4 / math.pi).astype(int) % 4  # in eighths of a turn
    ways = ((0, 1), (1, 1), (1, 0), (1, -1))
    peak = np.choose(direction, [(steep >= near(steep, a, b)) & (steep > near(steep, -a, -b)) for a, b in ways])
    weak = peak & (steep > 0.4)
    added = edges = peak & (steep > 0.8)
    while added.any():
        added = weak & ~edges & np.any([near(edges, *way) for way in NEIGHBOURS], axis=0)
        edges = edges | added
    return edges.astype(np.float32)


CORRUPTIONS = {
    "shot noise": Corruption("5 photons for full ink", shot_noise, 1),
    "impulse noise": Corruption("17 % of the pixels", impulse_noise, 1),
    "glass blur": Corruption("Gaussians of 0.7 px, 2 passes of swaps", glass_blur, 2),
    "motion blur": Corruption("9 px, within 45 degrees of level", motion_blur),
    "shear": Corruption("0.5 px a row, either way", lambda x, u: at(x, 1, 0, either(u) / 2, 1)),
    "scale": Corruption("to 60 %", lambda x, u: at(blur(x, 0.5), 1 / 0.6, 0, 0, 1 / 0.6)),
    "rotate": Corruption("30 degrees, either way", lambda x, u: at(x, COSINE, -either(u) / 2, either(u) / 2, COSINE)),
    "brightness": Corruption("+ 0.5 of full ink", lambda x, u: x + np.float32(0.5)),
    "translate": Corruption(
        "4 px, in both directions", lambda x, u: at(x, 1, 0, 0, 1, 4 * either(u), 4 * either(u, 1))
    ),
    "stripe": Corruption("middle half inverted", lambda x, u: np.where(4 * abs(grid(x)[1]) < x.shape[2], 1 - x, x)),
    "fog": Corruption("1.5 times full ink", fog, 1),
    "spatter": Corruption("above 1.2 standard deviations", spatter, 1),
    "dotted line": Corruption("dots of 3 px, 4 px apart", dotted_line),
    "zigzag": Corruption("amplitude 2 px, period 8 px", zigzag),
    "canny edges": Corruption("thresholds 0.4 and 0.8", canny_edges),
}
