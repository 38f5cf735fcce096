"""The buffers of a convolution, and the views of them that its products work with: see ``convolution.py``."""

from functools import cache
from typing import Any

import numpy as np

from distlenet.nn.layer import zeros
from distlenet.numerics import find_blas

VECTOR = 16  # numbers of float32 in the widest registers
SMALL = 1_000_000  # multiply-adds: up to this size, some BLAS kernels multiply without copying the factors first
STRIPE = 2**18  # bytes of products that stay in the cache until they are rounded or added up
LONG = 128  # positions; shorter blocks are slower


def choose_blocks(rows: int, depth: int, positions: int) -> int:
    """Return the number of blocks to cut a product's ``positions`` into, so that each block is at most SMALL.

    The blocks are equal, a multiple of VECTOR and at least LONG. Returns the smallest such number, 1 if none exists.
    """
    fewest = -(-rows * depth * positions // SMALL)
    fitting = (blocks for blocks in range(fewest, positions // LONG + 1) if positions % (blocks * VECTOR) == 0)
    return next(fitting, 1)


@cache
def multiplies_in_place() -> bool:
    """Return whether numpy's BLAS multiplies small matrices without packing them first."""
    blas = find_blas()
    return blas is not None and blas.kernel == "SkylakeX"


def forward_tile(tile: int, channels: int, depth: int, positions: int) -> int:
    """Return how many output rows the forward pass computes together, 1 or ``tile``; ``depth`` is that of ``tile``.

    Without packing, few rows are no slower, and there is no arithmetic on zeros. The condition is one under which both
    tiles gave the same bits, in a trial of 8,000 shapes.
    """
    small = tile * channels * depth * positions <= SMALL and depth <= 320 and positions % VECTOR == 0
    return 1 if small and channels >= 6 and multiplies_in_place() else tile


def better_upright(rows: int, depth: int, positions: int) -> bool:
    """Return whether to transpose the output's gradient before its product with the patches.

    OpenBLAS packs two factors that both lie along the sum if the product has more than 1,200 numbers; if one is
    transposed, it does not. The condition is one under which both ways gave the same bits, in a trial of 11,000 shapes.
    """
    small = rows * depth * positions <= SMALL and positions <= 320 and rows % VECTOR == 0
    return small and rows * depth > 1200 and multiplies_in_place()


def by_rows(picture: np.ndarray) -> np.ndarray:
    """View ``picture`` (C, H, W, N) as (H, C, W, N)."""
    return picture.swapaxes(0, 1)


class Buffers:
    """The arrays of the Conv2d ``layer`` for ``n`` samples, and the views of them that it works with.

    They are made by np.zeros, which takes no memory until it is written: inference does not use those of backward.
    """

    def __init__(self, layer: Any, n: int) -> None:
        (inputs, height, width), (channels, rows, columns) = layer.shape, layer.out_shape
        k, border, tile, dtype = layer.kernel, layer.border, layer.tile, layer.product_dtype
        positions, weight_rows, lines = columns * n, tile * channels, inputs * k
        self.blocks = choose_blocks(weight_rows, layer.depth, positions)

        # the border stays zero
        self.lowered = zeros((height + 2 * border, inputs, k, columns, n), dtype)
        self.copies = []  # copy t of a row shows pixel j + t - border at position j
        for t in range(k):
            first, last = max(border - t, 0), min(width + border - t, columns)
            if first < last:
                target = self.lowered[border : border + height, :, t, first:last]
                self.copies.append((target, slice(first + t - border, last + t - border)))
        flat = self.lowered.reshape(-1, positions)
        self.patches = overlapping(flat, layer.tiles, tile * lines, layer.depth, self.blocks)
        native = dtype is np.float32 and dtype is layer.dtype
        ahead = forward_tile(tile, channels, layer.depth, positions) if native else tile
        self.ahead = ahead * channels, (k + ahead - 1) * lines  # rows and columns of the weights of the forward pass
        seen = overlapping(flat, rows // ahead, ahead * lines, self.ahead[1], self.blocks)
        by_row = zeros((rows, channels, columns, n), layer.dtype)
        self.out = by_rows(by_row)
        # as many tiles at a time: natively all of them, right in the output; else a stripe that stays in the cache
        size, sums = len(seen), by_row
        if dtype is not layer.dtype:
            size = min(size, max(1, STRIPE // (weight_rows * positions * np.dtype(dtype).itemsize)))
            sums = zeros((size * tile, channels, columns, n), dtype)
        self.stripes = []  # patches, their products, the same as rows of the output, these rows
        for first in range(0, len(seen), size):
            last = min(first + size, len(seen))
            here = sums[: (last - first) * ahead]
            products = blocked(here.reshape(last - first, -1, positions), self.blocks)
            self.stripes.append((seen[first:last], products, here, by_row[first * ahead : last * ahead]))
        # as long as a row, for a faster addition
        self.bias = zeros((channels, 1, columns, n), layer.dtype)

        self.parts = zeros((layer.tiles, self.blocks, layer.depth, weight_rows), dtype)
        shape = layer.tiles, self.blocks, positions // self.blocks, weight_rows
        upright = native and better_upright(weight_rows, layer.depth, shape[2])
        self.upright = zeros(shape, dtype) if upright else None
        self.ones: np.ndarray = np.ones(positions, dtype)
        # the gradient of some groups of ``tile`` lowered rows; after each line are as many zeros as a shift can reach
        groups_of_rows = range(border // tile, -(-(border + height) // tile))
        line = (columns + k - 1) * n
        together = min(len(groups_of_rows), max(1, STRIPE // (tile * lines * line * np.dtype(dtype).itemsize)))
        dlowered = zeros((together * tile, inputs, k, columns + k - 1, n), dtype)
        products = blocked(dlowered.reshape(together, tile * lines, line)[..., :positions], self.blocks)
        # pixel j was at position j + border - t of copy t: a step back for each copy, at times into those zeros
        row, channel, copy, column, number = dlowered.strides
        strides = row, channel, copy - column, column, number
        dcopies = np.ndarray((together * tile, inputs, k, width, n), dtype, dlowered, border * column, strides)
        dx = zeros((height, inputs, width, n), layer.dtype)
        self.dx = by_rows(dx)
        self.input_rows = []  # [(weights, the lines of dout to multiply, the product)], the copies to add up, the sums
        for first in groups_of_rows[::together]:
            some = range(first, min(first + together, groups_of_rows.stop))
            parts = [(*self._touching(layer, group), into) for group, into in zip(some, products, strict=False)]
            top = first * tile - border
            start, stop = max(0, -top), min(len(some) * tile, height - top)  # the groups may reach into the border
            self.input_rows.append((parts, dcopies[start:stop], dx[top + start : top + stop]))

    @staticmethod
    def _touching(layer: Any, group: int) -> tuple[np.ndarray, slice]:
        """Return the weights of the output rows that touch a group of lowered rows, and these rows' lines."""
        rows, before = layer.tile * layer.channels, group - layer.groups + 1
        first, last = max(0, before), min(layer.tiles, group + 1)
        weights = layer._transposed[:, (first - before) * rows : (last - before) * rows]
        return weights, slice(first * rows, last * rows)


def blocked(matrices: np.ndarray, blocks: int) -> np.ndarray:
    """View ``matrices`` (..., rows, positions) as (..., blocks, rows, positions / blocks)."""
    return matrices.reshape(*matrices.shape[:-1], blocks, -1).swapaxes(-2, -3)


def overlapping(array: np.ndarray, count: int, step: int, lines: int, blocks: int) -> np.ndarray:
    """View ``count`` matrices of ``lines`` lines each in ``array`` (lines, positions), ``step`` lines apart.

    Returns (count, blocks, lines, positions / blocks); the array must be contiguous.
    """
    positions, number = array.shape[1] // blocks, array.itemsize
    line = array.shape[1] * number
    strides = step * line, positions * number, line, number
    return np.ndarray((count, blocks, lines, positions), array.dtype, array, strides=strides)
