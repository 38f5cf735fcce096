"""Disturbs training images: large moves, or blemishes such as noise, blur, lines and a grey background; one for a leaf.

The kinds are those of corruptions.py, which measure a network, and some more, but at random severities, positions and
periods, and they are made for speed: a leaf has one kind, so that each is a few operations on whole arrays.

All of it is portable: the random numbers are portable draws, sums have a fixed order or are exact, functions are those
of distlenet.arithmetic. Pixels are whole numbers of 0 for paper to FULL for ink.
"""

import numpy as np

from distlenet.arithmetic.draws import Draws
from distlenet.arithmetic.functions import cos, sin
from distlenet.arithmetic.native import key_and_counter
from distlenet.data.blemishes import CHANGES, FULL
from distlenet.data.plan import DISTURBANCE


class Disturbance:
    """What happens to the images of one leaf: nothing, unless a draw is below ``share``, else one of KINDS."""

    def __init__(self, share: float, seed: int, epoch: int, step: int, shard: int) -> None:
        self._draws = Draws(**key_and_counter(seed, DISTURBANCE, epoch, step, shard))
        self.kind = KINDS[self._draws.integers(len(KINDS))] if self._draws.random() < share else "none"

    def move(self, maps: np.ndarray) -> np.ndarray:
        """Return ``maps`` (2, fields, n) of Augmentation.maps after another affine map, if the kind is a move."""
        if self.kind not in MOVES:
            return maps
        (a, b, e), (c, d, f) = MOVES[self.kind](self._draws, maps.shape[2])
        moved = maps.copy()
        for axis in (0, 1):
            down, right, place = maps[axis, :3].astype(np.float64)
            moved[axis, :3] = a * down + c * right, b * down + d * right, place + (e * down + f * right)
        return moved

    def change(self, pixels: np.ndarray, rows: int) -> None:
        """Change ``pixels`` (rows * columns, n), any numbers of 0 to FULL, in place, if the kind is a change."""
        if self.kind in CHANGES:
            x = np.rint(pixels).reshape(rows, -1, pixels.shape[1])
            x = CHANGES[self.kind](x, self._draws)
            np.copyto(pixels, np.rint(np.clip(x, 0, FULL)).reshape(pixels.shape))


def rotate(draws: Draws, n: int) -> tuple:
    """Turn by up to 36 degrees, far more often than little."""
    far = 0.63 * np.sqrt(draws.random(n))
    angle = np.where(draws.random(n) < 0.5, -far, far)
    return (cos(angle), -sin(angle), 0.0), (sin(angle), cos(angle), 0.0)


def shear(draws: Draws, n: int) -> tuple:
    """Slant by up to 0.6 pixels a row."""
    return (1.0, 0.0, 0.0), (draws.uniform(-0.6, 0.6, n), 1.0, 0.0)


def shrink(draws: Draws, n: int) -> tuple:
    """Shrink to down to 55 %."""
    size = 1 / draws.uniform(0.55, 1, n)
    return (size, 0.0, 0.0), (0.0, size, 0.0)


def translate(draws: Draws, n: int) -> tuple:
    """Shift by up to 4.5 pixels down and right, far more often than little."""
    far = 4.5 * np.sqrt(draws.random((2, n)))
    down, right = np.where(draws.random((2, n)) < 0.5, -far, far)
    return (1.0, 0.0, down), (0.0, 1.0, right)


def make_room(draws: Draws, n: int) -> tuple:
    """Shrink to 40 to 90 % and shift by up to 4 pixels."""
    size, (down, right) = 1 / draws.uniform(0.4, 0.9, n), draws.uniform(-4, 4, (2, n))
    return (size, 0.0, size * down), (0.0, size, size * right)


MOVES = {"rotate": rotate, "shear": shear, "shrink": shrink, "translate": translate, "edge": make_room}
HARD = (
    "glass blur",
    "zigzag",
    "translate",
    "stripe",
    "rotate",
    "motion blur",
    "edge",
)  # these are drawn twice as often
KINDS = (*dict.fromkeys((*MOVES, *CHANGES)), *HARD)
