"""Blemishes of training images, the changes of pixels among the disturbances: noise, blur, lines, spots, fog ...

Arrays ``x`` are (rows, columns, n) float32, whole numbers of 0 for paper to FULL for ink; a function may overwrite its
own, and may return numbers beyond these, which are clipped and rounded. All of it is portable: see disturbances.py.
"""

import math
from collections.abc import Callable

import numpy as np

from distlenet.arithmetic.draws import Draws
from distlenet.arithmetic.functions import cos, exp, sin

FULL = 255  # full ink
GRID = 1.5 * 2.0**30  # adding and subtracting it rounds to multiples of 2^-22: see blur
NEIGHBOURS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
TANGENT = math.sqrt(2) - 1  # of an eighth of half a turn


def noise(draws: Draws, *shape: int, dtype: type = np.float32) -> np.ndarray:
    """Return whole numbers of 0 to 65535, each as often, as an array of ``shape``."""
    count = math.prod(shape)
    quarters = draws.words(-(-count // 4)).astype("<u8").view("<u2")
    return quarters[:count].reshape(shape).astype(dtype)


def each(draws: Draws, low: float, high: float, n: int) -> np.ndarray:
    """Return a number for each image, (n,) float32."""
    return draws.uniform(low, high, n).astype(np.float32)


def blur(x: np.ndarray, sigma: float) -> np.ndarray:
    """Return ``x`` (rows, columns, n) under a Gaussian of ``sigma`` pixels, float64.

    Factors are multiples of 2^-22, and their sums stay below 2^9: the products are exact.
    """
    for axis in (0, 1):
        away = np.subtract.outer(np.arange(x.shape[axis]), np.arange(x.shape[axis]))
        bell = exp(-0.5 * (away / sigma) * (away / sigma))
        bell = bell / np.add.accumulate(bell, axis=1)[:, -1:]
        bell, x = bell + GRID - GRID, np.add(x, GRID, dtype=np.float64) - GRID
        flat = x.reshape(len(x), -1) if axis == 0 else x
        x = np.matmul(bell, flat).reshape(x.shape)
    return x


def grid(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the row (rows, 1, 1) and column (1, columns, 1) of each pixel, counted from the centre."""
    rows, columns = x.shape[:2]
    down, right = np.arange(rows) - (rows - 1) / 2, np.arange(columns) - (columns - 1) / 2
    return down.astype(np.float32)[:, None, None], right.astype(np.float32)[:, None]


def shot_noise(x: np.ndarray, draws: Draws) -> np.ndarray:
    """Count photons: Poisson numbers, by the inverse of their distribution; 4 to 20 for full ink in a leaf."""
    photons = float(draws.uniform(4, 20))
    expected = photons * (np.arange(FULL + 1) / FULL)
    term = exp(-expected)
    below = term.copy()
    inked = np.nonzero(x)
    level, u = x[inked].astype(np.intp), noise(draws, len(inked[0]))
    counts = np.zeros(len(u), np.float32)
    for count in range(1, 32):
        counts += u > (65536 * below).astype(np.float32)[level]
        term = term * expected / count
        below = below + term
    x[inked] = counts * np.float32(FULL / photons)
    return x


def impulse_noise(x: np.ndarray, draws: Draws) -> np.ndarray:
    """Replace up to 22 % of the pixels by ink or paper."""
    u, share = noise(draws, *x.shape), each(draws, 0.02, 0.22, x.shape[2]) * 32768
    x[u < share] = FULL
    x[u > 65535 - share] = 0
    return x


def grain(x: np.ndarray, draws: Draws) -> np.ndarray:
    """Add noise: the difference of two uniform numbers."""
    spread = each(draws, 0.1, 0.6, x.shape[2]) * np.float32(FULL / 65536)
    return x + spread * (noise(draws, *x.shape) - noise(draws, *x.shape))


def glass_blur(x: np.ndarray, draws: Draws) -> np.ndarray:
    """Blur, take each pixel from a few pixels away, and blur again."""
    sigma, steps = float(draws.uniform(0.4, 0.8)), 2 + int(draws.integers(2))
    x, (rows, columns, n) = blur(x, sigma), x.shape
    moves = (3 * noise(draws, 2, steps, rows, columns, n, dtype=np.int32) >> 16).sum(axis=1) - steps  # -1, 0, 1 a step
    down = np.clip(moves[0] + np.arange(rows)[:, None, None], 0, rows - 1)
    right = np.clip(moves[1] + np.arange(columns)[:, None], 0, columns - 1)
    return blur(x.reshape(-1).take((down * columns + right) * n + np.arange(n)), sigma)


def motion_blur(x: np.ndarray, draws: Draws) -> np.ndarray:
    """Take the mean along a line of 3 to 9 columns, within 45 degrees of level."""
    reach, slope = 1 + int(draws.integers(4)), float(draws.uniform(-1, 1))
    rows, columns = x.shape[:2]
    framed = np.pad(x, ((6, 6), (5, 5), (0, 0)))
    total = np.zeros_like(x)
    for right in range(-reach, reach + 1):
        down = math.floor(slope * right)
        share = np.float32(slope * right - down)
        part = framed[:, 5 + right : 5 + right + columns]
        total += (1 - share) * part[6 + down : 6 + down + rows] + share * part[7 + down : 7 + down + rows]
    return total / np.float32(2 * reach + 1)


def soften(x: np.ndarray, draws: Draws) -> np.ndarray:
    """Blur, and stretch the range again in some leaves."""
    return blur(x, float(draws.uniform(0.5, 1.6))) * float(draws.uniform(1, 1.6))


def brightness(x: np.ndarray, draws: Draws) -> np.ndarray:
    """Turn the paper grey, and weaken the ink."""
    paper, ink = each(draws, 0, 0.6 * FULL, x.shape[2]), each(draws, 0.5, 1.2, x.shape[2])
    return x * ink + paper


def stripe(x: np.ndarray, draws: Draws) -> np.ndarray:
    """Invert a band of columns."""
    n, right = x.shape[2], grid(x)[1]
    middle, width = each(draws, -4, 4, n), each(draws, 2, 8.5, n)
    return np.where(np.abs(right - middle) < width, FULL - x, x)


def fog(x: np.ndarray, draws: Draws) -> np.ndarray:
    """Add smooth random fields, the coarser the stronger, and keep the range."""
    u, field = noise(draws, *x.shape) / 256, np.zeros(x.shape)
    for sigma in (1, 2, 4, 8):
        field += sigma * sigma * blur(u, sigma)
    low, high = field.min(axis=(0, 1)), field.max(axis=(0, 1))
    strength = draws.uniform(0.2, 2, x.shape[2])
    return (x + strength * (FULL * (field - low) / (high - low))) / (1 + strength)


def spatter(x: np.ndarray, draws: Draws) -> np.ndarray:
    """Cover with ink, or rub out, the places where a smooth random field is high."""
    sigma, n = float(draws.uniform(0.8, 1.6)), x.shape[2]
    field = blur(noise(draws, *x.shape) / 256 - 128, sigma)
    limit = each(draws, 1, 2.2, n) * (21 / sigma)  # in standard deviations of the field
    spots = np.clip(draws.uniform(0.1, 0.3, n) * (field - limit), 0, 1)
    rubbed = draws.random(n) < 0.25
    return np.where(rubbed, x * (1 - spots), np.maximum(x, FULL * each(draws, 0.7, 1, n) * spots))


def line(x: np.ndarray, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of each pixel along and across a random line, (rows, columns, n), in pixels."""
    n = x.shape[2]
    angle, (down, right) = math.pi * draws.random(n), grid(x)
    sine, cosine = sin(angle).astype(np.float32), cos(angle).astype(np.float32)
    down, right = down - each(draws, -7, 7, n), right - each(draws, -7, 7, n)
    return down * sine + right * cosine, down * cosine - right * sine


def edge(x: np.ndarray, draws: Draws) -> np.ndarray:
    """Draw slanting bars along some of the four sides, or cover all beyond: a table, the next page, a frame."""
    n, (down, right) = x.shape[2], grid(x)
    chance = draws.random(n)
    for across, along in ((down, right), (-down, right), (right, down), (-right, down)):
        there, whole = draws.random(n) < chance, draws.random(n) < 0.3
        depth = (
            across + each(draws, -0.2, 0.2, n) * along - np.where(whole, each(draws, 8, 13, n), each(draws, 4, 13, n))
        )
        width = np.where(whole, np.float32(99), each(draws, 0.8, 3.5, n))
        cover = np.clip(depth + np.float32(0.5), 0, 1) * np.clip(width - depth, 0, 1)
        x = np.maximum(x, np.where(there, FULL * each(draws, 0.3, 1, n), np.float32(0)) * cover)
    return x


def dotted_line(x: np.ndarray, draws: Draws) -> np.ndarray:
    """Draw a straight line of dots."""
    along, across = line(x, draws)
    period, radius = each(draws, 3, 6, x.shape[2]), each(draws, 1.2, 1.9, x.shape[2])
    along -= period * np.rint(along / period)
    return np.maximum(x, FULL * np.clip(radius - np.sqrt(along * along + across * across), 0, 1))


def zigzag(x: np.ndarray, draws: Draws) -> np.ndarray:
    """Draw a zigzag along a straight line; some have no amplitude."""
    along, across = line(x, draws)
    n = x.shape[2]
    period, height, width = each(draws, 6, 10, n), each(draws, -0.5, 2.5, n).clip(0), each(draws, 0.8, 1.6, n)
    wave = 4 * np.abs(along / period - np.rint(along / period)) - 1  # -1 to 1
    slope = 4 * height / period
    distance = np.abs(across - height * wave) / np.sqrt(1 + slope * slope)
    return np.maximum(x, FULL * np.clip(width - distance, 0, 1))


def around(x: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Return for each of NEIGHBOURS the pixels there, like ``x``; beyond the border there is 0."""
    (rows, columns), framed = x.shape[:2], np.pad(x, ((1, 1), (1, 1), (0, 0)))
    return {(a, b): framed[1 + a : 1 + a + rows, 1 + b : 1 + b + columns] for a, b in NEIGHBOURS}


def canny_edges(x: np.ndarray, draws: Draws) -> np.ndarray:
    """Return the edges (Canny 1986): steepest pixels across the edge, weak ones only if connected to strong ones."""
    near = around((blur(x, float(draws.uniform(0.7, 1.2))) / FULL).astype(np.float32))
    down = near[1, -1] + 2 * near[1, 0] + near[1, 1] - near[-1, -1] - 2 * near[-1, 0] - near[-1, 1]
    right = near[-1, 1] + 2 * near[0, 1] + near[1, 1] - near[-1, -1] - 2 * near[0, -1] - near[1, -1]
    steep = np.sqrt(down * down + right * right)
    near = around(steep)
    peaks = [(steep >= near[a, b]) & (steep > near[-a, -b]) for a, b in ((0, 1), (1, 0), (1, 1), (1, -1))]
    level = np.abs(down) <= TANGENT * np.abs(right)
    upright = np.abs(right) <= TANGENT * np.abs(down)
    falling = (down > 0) == (right > 0)
    peak = np.where(level, peaks[0], np.where(upright, peaks[1], np.where(falling, peaks[2], peaks[3])))
    strong = float(draws.uniform(0.6, 1.1))
    weak = peak & (steep > strong / 2)
    framed = np.pad(peak & (steep > strong), ((1, 1), (1, 1), (0, 0)))
    edges, before = framed[1:-1, 1:-1], -1
    while (found := int(np.count_nonzero(edges))) > before:
        before = found
        wide = framed[:-2] | framed[1:-1] | framed[2:]
        edges |= weak & (wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:])
    return edges * np.float32(FULL)


CHANGES: dict[str, Callable[[np.ndarray, Draws], np.ndarray]] = {
    "shot noise": shot_noise,
    "impulse noise": impulse_noise,
    "grain": grain,
    "glass blur": glass_blur,
    "motion blur": motion_blur,
    "soften": soften,
    "brightness": brightness,
    "stripe": stripe,
    "fog": fog,
    "spatter": spatter,
    "edge": edge,
    "dotted line": dotted_line,
    "zigzag": zigzag,
    "canny edges": canny_edges,
}
