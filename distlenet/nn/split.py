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


def refined(x: np.ndarray, phases: tuple[int, int]) -> np.ndarray:
    """View ``x`` (a, b, C, h, w, N) as split by ``phases``.

    Along each axis the picture is split that way already or not at all; ``phases`` divide its size.
    """
    (th, tw), (a, b, channels, h, w, n) = phases, x.shape
    if th > a:
        x = x.reshape(a, b, channels, h // th, th, w, n).transpose(0, 4, 1, 2, 3, 5, 6)[0]
    if tw > b:
        x = x.reshape(th, b, channels, -1, w // tw, tw, n).transpose(0, 1, 5, 2, 3, 4, 6)[:, 0]
    return x


def _pairs(small: tuple[int, int], large: tuple[int, int], offset: int) -> list[tuple]:
    """List where each phase of one axis lies in two layouts.

    ``small`` and ``large`` are (phases, length per phase) of the two arrays; row r of the small
    picture is row r + offset of the large one. Returns (phase, slice) of small and of large, for each
    residue of r modulo the least common multiple of the two phase counts.
    """
    (a, length), (b, _) = small, large
    period = lcm(a, b)

    def place(row: int, phases: int, count: int) -> tuple[int, slice]:
        first, step = row // phases, period // phases
        return row % phases, slice(first, first + count * step, step)

    counts = [len(range(s, a * length, period)) for s in range(period)]
    return [(place(s, a, count), place(s + offset, b, count)) for s, count in enumerate(counts) if count]


def windows(small: np.ndarray, large: np.ndarray, top: int = 0, left: int = 0) -> list[tuple]:
    """List view pairs that together identify ``small`` with a window of ``large``.

    Both are split pictures of any phases, (a, b, C, h, w, N); ``small`` lies ``top`` rows down and
    ``left`` columns right in ``large``. Copying each pair one way or the other copies the picture, adds
    or takes off padding, and changes the split.
    """
    rows = _pairs((small.shape[0], small.shape[3]), (large.shape[0], large.shape[3]), top)
    columns = _pairs((small.shape[1], small.shape[4]), (large.shape[1], large.shape[4]), left)
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


def divided(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Return ``x``, plain or as ``out`` (a, b, C, h, w, N), as split as that, copied to ``out`` if it is plain."""
    if x.shape == out.shape:
        return x
    for target, source in windows(out, x):
        target[...] = source
    return out


def to_plain(x: np.ndarray) -> np.ndarray:
    """Return a copy of ``x`` (a, b, C, h, w, N) as a plain picture (C, H, W, N)."""
    _, _, channels, _, _, n = x.shape
    return x.transpose(2, 3, 0, 4, 1, 5).copy().reshape(channels, *picture_size(x), n)


def to_split(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a copy of the plain picture ``x`` (C, H, W, N) as a split one of ``shape`` (a, b, C, h, w, N)."""
    a, b, channels, rows, columns, n = shape
    return x.reshape(channels, rows, a, columns, b, n).transpose(2, 4, 0, 1, 3, 5).copy()
