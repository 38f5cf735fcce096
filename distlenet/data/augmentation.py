"""Rotation, shift, zoom and distortion as ONE map, resampled once, bilinearly, a whole leaf at a time.

A map is linear in a few fixed fields over the image: the row, the column, one (the affine part), and for distortions
smooth bumps around the knots of a grid. So the source positions of a whole leaf are one matrix product.

All arrays are in (pixels, samples) order, as the network expects. Each output pixel has a source position; the four
pixels around it are interpolated. The images have a border of background, so that positions outside need no special
case.
"""

import math
from dataclasses import dataclass

import numpy as np

from distlenet.arithmetic import NATIVE, Arithmetic, choose
from distlenet.config import Config
from distlenet.data.disturbances import Disturbance
from distlenet.data.own_augmentation import OwnAugmentation
from distlenet.data.plan import NOISE
from distlenet.errors import ConfigError, nearest
from distlenet.paths import is_custom
from distlenet.trust import NOTHING, Trust

BEFORE, AFTER = 1, 2  # width of the border before the first and after the last row and column
KNOTS = 5  # of a distortion, in each direction


@dataclass(frozen=True)
class Augmentation:
    """Ranges: rotation within +-``rotate`` degrees, shift within +-``shift`` pixels each way, zoom by a
    factor within 1 +- ``zoom``; all uniform. ``elastic`` is the standard deviation, in pixels, of the
    displacement of each position, down and right; neighbours move alike (elastic distortion, after Simard, Steinkraus
    and Platt 2003). All zero: the map changes nothing. ``disturb`` is the share of leaves with a disturbance (see
    disturbances.py). ``own`` is a user-defined function that is applied first.
    """

    rotate: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    elastic: float = 0.0
    disturb: float = 0.0
    own: OwnAugmentation | None = None
    arithmetic: Arithmetic = NATIVE

    @property
    def active(self) -> bool:
        """True if any range is not zero."""
        return bool(self.rotate or self.shift or self.zoom or self.elastic or self.disturb)

    def __str__(self) -> str:
        parts = [self.own.name.removeprefix("augmentation ")] if self.own else []
        if self.active:
            parts += [f"rotation {self.rotate:g} degrees", f"shift {self.shift:g} px", f"zoom {100 * self.zoom:g} %"]
        if self.elastic:
            parts.append(f"distortion {self.elastic:g} px")
        if self.disturb:
            parts.append(f"{100 * self.disturb:g} % of the leaves disturbed")
        return ", ".join(parts) or "none"

    def noise(self, seed: int, epoch: int, step: int, batch_size: int) -> np.ndarray:
        """Draw for a whole global batch (batch_size, 4), uniform in [-1, 1): angle, down, right, zoom.

        With ``elastic``, each row has 2 * KNOTS**2 more: the displacements of the knots, down and right. Row
        ``shard * leaf + i`` belongs to image i of that shard's leaf: how an image is augmented depends on its position
        in the global batch alone, never on the rank.
        """
        columns = 4 + 2 * KNOTS**2 if self.elastic else 4
        return 2 * self.arithmetic.stream(seed, NOISE, epoch, step).random((batch_size, columns)) - 1

    def maps(self, noise: np.ndarray, rows: int, columns: int) -> np.ndarray:
        """Return, for each sample, how output positions map to source positions: (2, fields, N) float32.

        ``noise`` is that of N samples. Source row = m[0, 0] * row + m[0, 1] * column + m[0, 2], likewise the column
        with m[1]. Output positions count from the centre, source positions from the border's corner. With ``elastic``,
        the positions are displaced by the ``bumps`` times the rest of m.
        """
        angle = self.rotate * (math.pi / 180) * noise[:, 0]
        scale = 1 / (1 + self.zoom * noise[:, 3])  # to double the size, sample half as far apart
        cosine, sine = scale * self.arithmetic.cos(angle), scale * self.arithmetic.sin(angle)
        down, right = (
            BEFORE + (rows - 1) / 2 - self.shift * noise[:, 1],
            BEFORE + (columns - 1) / 2 - self.shift * noise[:, 2],
        )
        affine = np.array([[cosine, sine, down], [-sine, cosine, right]], np.float32)
        if not self.elastic:
            return affine
        spread = self.elastic * np.sqrt(3)  # uniform in [-1, 1) has the deviation 1 / sqrt(3)
        moves = np.reshape(spread * noise[:, 4:].T, (2, KNOTS**2, len(noise)))
        return np.concatenate([affine, moves.astype(np.float32)], axis=1)


def build_augmentation(config: Config, rows: int, columns: int, trust: Trust = NOTHING) -> Augmentation:
    """Return the augmentation of ``config`` for images of ``rows`` x ``columns`` pixels.

    Raises ConfigError if its name is unknown, or if user code, which ``trust`` admits, is at fault.
    """
    name, known = config.augmentation, ("built-in",)
    if name not in known and not is_custom(name):
        raise ConfigError(
            f"augmentation {name!r} is unknown{nearest(name, known)}: expected built-in or FILE.py:FUNCTION (for none "
            "at all: --rotate 0 --shift 0 --zoom 0 --elastic 0)"
        )
    arithmetic = choose(config.numerics)
    own = OwnAugmentation(name, rows, columns, trust, arithmetic) if is_custom(name) else None
    return Augmentation(**config.ranges, own=own, arithmetic=arithmetic)


def bumps(rows: int, columns: int, arithmetic: Arithmetic = NATIVE) -> np.ndarray:
    """Return (rows * columns, KNOTS**2): Gaussians around the knots of a grid over the image.

    Scaled so that independent displacements of the knots, of standard deviation 1, give every position a displacement
    of standard deviation 1.
    """
    bells = []
    for length in (rows, columns):
        away = np.arange(length)[:, None] * (KNOTS - 1) / max(1, length - 1) - np.arange(KNOTS)
        bells.append(arithmetic.exp(-0.5 * (away * away)))
    down, right = bells
    fields = (down[:, None, :, None] * right[None, :, None, :]).reshape(rows * columns, KNOTS**2)
    return fields / np.sqrt(arithmetic.total((fields * fields).T))[:, None]


class Resampler:
    """Turns leaves of uint8 images into the network's input, in its own buffers.

    ``mean`` and ``std`` normalise: output = (pixel / 255 - mean) / std.
    """

    def __init__(self, rows: int, columns: int, mean: float, std: float, arithmetic: Arithmetic = NATIVE) -> None:
        self.rows, self.columns, self._arithmetic = rows, columns, arithmetic
        self.scale, self.offset = np.float32(1 / (255 * std)), np.float32(mean / std)
        down, right = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        places = [down.ravel() - (rows - 1) / 2, right.ravel() - (columns - 1) / 2, np.ones(rows * columns)]
        self.fields = np.column_stack([*places, bumps(rows, columns, arithmetic)]).astype(
            np.float32
        )  # (pixels, fields)
        self._buffers: dict[int, tuple] = {}

    def normalize(self, pictures: np.ndarray) -> np.ndarray:
        """Return (1, rows, columns, N) float32 for uint8 ``pictures`` (N, rows, columns), unchanged otherwise."""
        out = self._buffer(len(pictures))[0]
        np.copyto(out, pictures.reshape(len(pictures), self.rows * self.columns).T)  # N may be 0
        return self._finish(out)

    def warp(self, pictures: np.ndarray, maps: np.ndarray, disturbance: Disturbance | None = None) -> np.ndarray:
        """Return (1, rows, columns, N) float32: ``pictures`` (N, rows, columns) under ``maps`` (2, fields, N), and then
        with ``disturbance``."""
        maps = disturbance.move(maps) if disturbance else maps
        n = len(pictures)
        out, framed, flat, source, whole, index, short, corner, first, limit, zeros = self._buffer(n)
        framed[:, BEFORE:-AFTER, BEFORE:-AFTER] = pictures
        self._arithmetic.combine(self.fields[:, : maps.shape[1]], maps, out=source)  # (2, pixels, N): row and column
        lines = source.reshape(2, self.rows, self.columns * n)  # numpy works faster along whole rows
        np.maximum(lines, zeros, out=lines)  # beyond the border there is background, as on it
        np.minimum(lines, limit, out=lines)
        np.floor(source, out=whole)
        source -= whole  # the fractions
        down, right = source
        width = framed.shape[2]
        np.multiply(whole[0], np.float32(width), out=corner)
        corner += whole[1]
        lines = corner.reshape(self.rows, -1)
        lines += first
        np.copyto(short, corner, casting="unsafe")
        np.copyto(index, short)  # not at once: CPUs without AVX-512 have no vector instruction for that
        above = self._blend(flat, flat[1:], index, right, out, whole[1])
        below = self._blend(flat[width:], flat[width + 1 :], index, right, whole[0], whole[1])
        below -= above
        below *= down
        above += below
        if disturbance:
            disturbance.change(out, self.rows)
        return self._finish(out)

    @staticmethod
    def _blend(
        left: np.ndarray,
        right: np.ndarray,
        index: np.ndarray,
        share: np.ndarray,
        out: np.ndarray,
        work: np.ndarray,
    ) -> np.ndarray:
        """Return left[index] + share * (right[index] - left[index]) in ``out``."""
        left.take(index, out=out, mode="clip")  # "clip" skips the bounds check; no index is out of bounds
        right.take(index, out=work, mode="clip")
        work -= out
        work *= share
        out += work
        return out

    def _finish(self, out: np.ndarray) -> np.ndarray:
        out *= self.scale
        out -= self.offset
        return out.reshape(1, self.rows, self.columns, out.shape[1])

    def _buffer(self, n: int) -> tuple:
        if n not in self._buffers:
            pixels = self.rows * self.columns
            height, width = self.rows + BEFORE + AFTER, self.columns + BEFORE + AFTER
            flat = np.zeros(n * height * width + width + 1, np.float32)
            exact = np.float32 if flat.size < 2**24 else np.float64  # for pixel indices; float32 up to 17,000 images
            limit = np.empty((2, 1, self.columns * n), np.float32)
            limit[0], limit[1] = height - 1.5, width - 1.5
            self._buffers[n] = (
                np.empty((pixels, n), np.float32),
                flat[: n * height * width].reshape(n, height, width),
                flat,
                np.empty((2, pixels, n), np.float32),
                np.empty((2, pixels, n), np.float32),
                np.empty((pixels, n), np.intp),
                np.empty((pixels, n), np.int32),
                np.empty((pixels, n), exact),
                np.tile((np.arange(n) * height * width).astype(exact), self.columns),
                limit,
                np.zeros((2, 1, self.columns * n), np.float32),
            )
        return self._buffers[n]
