"""Pictures stored split by phase: the layout that makes tiled convolution and pooling cheap.

A picture X of (C, H, W, N) split by (a, b) is stored as an array S of (a, b, C, H/a, W/b, N) with
``S[s, t, c, i, j, n] = X[c, i*a + s, j*b + t, n]``: the leading axes say which row and column phase.

A convolution that computes tiles of (a, b) outputs at a time produces its result in this layout, a
pooling window that divides (a, b) is then a sum or maximum over leading axes, and the patches of the
next convolution are contiguous runs. Plain pictures are the case (1, 1).
"""

from math import lcm

import numpy as np


def plain(x: np.ndarray) -> np.ndarray:
    """View a plain picture (C, H, W, N) as one split by (1, 1): (1, 1, C, H, W, N)."""
    return x[None, None]


def picture_size(x: np.ndarray) -> tuple[int, int]:
    """Rows and columns of the picture stored in ``x`` (a, b, C, H/a, W/b, N)."""
    return x.shape[0] * x.shape[3], x.shape[1] * x.shape[4]


def _pairs(small: tuple[int, int, int], large: tuple[int, int, int], offset: int) -> list[tuple]:
    """List where each phase of one axis lies in two layouts.

    ``small`` and ``large`` are (phases, length per phase, _) of the two arrays; row r of the small
    picture is row r + offset of the large one. Returns (phase, slice) of small and of large, for each
    residue of r modulo the least common multiple of the two phase counts.
    """
    a, length, _ = small
    b, _, _ = large
    period = lcm(a, b)
    pairs = []
    for s in range(period):
        count = len(range(s, a * length, period))
        if count == 0:
            continue
        first_small, first_large = s // a, (s + offset) // b
        pairs.append(
            (
                (s % a, slice(first_small, first_small + (count - 1) * (period // a) + 1, period // a)),
                ((s + offset) % b, slice(first_large, first_large + (count - 1) * (period // b) + 1, period // b)),
            )
        )
    return pairs


def windows(small: np.ndarray, large: np.ndarray, top: int = 0, left: int = 0) -> list[tuple]:
    """List view pairs that together identify ``small`` with a window of ``large``.

    Both are split pictures of any phases, (a, b, C, h, w, N); ``small`` lies ``top`` rows down and
    ``left`` columns right in ``large``. Copying each pair one way or the other copies the picture, adds
    or takes off padding, and changes the split.
    """
    rows = _pairs((small.shape[0], small.shape[3], 0), (large.shape[0], large.shape[3], 0), top)
    columns = _pairs((small.shape[1], small.shape[4], 0), (large.shape[1], large.shape[4], 0), left)
    return [
        (small[rs, cs, :, ri, ci], large[rl, cl, :, rj, cj])
        for (rs, ri), (rl, rj) in rows
        for (cs, ci), (cl, cj) in columns
    ]


def merged(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Return ``x`` (a, b, C, h, w, N) as a plain picture (1, 1, C, H, W, N), copied to ``out`` if split."""
    if x.shape[:2] == (1, 1):
        return x
    for source, target in windows(x, out):
        target[...] = source
    return out
