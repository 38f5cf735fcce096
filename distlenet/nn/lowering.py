"""The buffers of a convolution, and the views of them that its products work with: see ``convolution.py``."""

from typing import Any

import numpy as np

VECTOR = 16  # numbers of float32 in the widest registers
SMALL = 1_000_000  # multiply-adds: up to this size, some BLAS kernels multiply without copying the factors first
STRIPE = 2**18  # bytes of products that are rounded together
LONG = 128  # positions; shorter blocks are slower


def choose_blocks(rows: int, depth: int, positions: int) -> int:
    """Return the number of blocks to cut a product's ``positions`` into, so that each block is at most SMALL.

    The blocks are equal, a multiple of VECTOR and at least LONG. Returns the smallest such number, 1 if none exists.
    """
    fewest = -(-rows * depth * positions // SMALL)
    fitting = (blocks for blocks in range(fewest, positions // LONG + 1) if positions % (blocks * VECTOR) == 0)
    return next(fitting, 1)


def by_rows(picture: np.ndarray) -> np.ndarray:
    """View ``picture`` (C, H, W, N) as (H, C, W, N)."""
    return picture.swapaxes(0, 1)


class Buffers:
    """The arrays of the Conv2d ``layer`` for ``n`` samples, and the views of them that it works with.

    They are made by np.zeros, which takes no memory until it is written: inference does not use those of backward.
    """

    def __init__(self, layer: Any, n: int) -> None:
        (inputs, height, width), (channels, rows, columns) = layer.shape, layer.out_shape
        k, border, tile, groups, dtype = layer.kernel, layer.border, layer.tile, layer.groups, layer.product_dtype
        positions, weight_rows, lines = columns * n, tile * channels, inputs * k
        self.blocks = choose_blocks(weight_rows, layer.depth, positions)

        # the border stays zero
        self.lowered: np.ndarray = np.zeros((height + 2 * border, inputs, k, columns, n), dtype)
        self.copies = []  # copy t of a row shows pixel j + t - border at position j
        for t in range(k):
            first, last = max(border - t, 0), min(width + border - t, columns)
            if first < last:
                target = self.lowered[border : border + height, :, t, first:last]
                self.copies.append((target, slice(first + t - border, last + t - border)))
        flat = self.lowered.reshape(-1, positions)
        self.patches = overlapping(flat, layer.tiles, tile * lines, layer.depth, self.blocks)
        by_row: np.ndarray = np.zeros((rows, channels, columns, n), layer.dtype)
        self.out = by_rows(by_row)
        # as many tiles at a time: natively all of them, right in the output; else a stripe that stays in the cache
        size, sums = layer.tiles, by_row
        if dtype is not layer.dtype:
            size = min(layer.tiles, max(1, STRIPE // (weight_rows * positions * np.dtype(dtype).itemsize)))
            sums = np.zeros((size * tile, channels, columns, n), dtype)
        self.stripes = []  # patches, their products, the same as rows of the output, these rows
        for first in range(0, layer.tiles, size):
            last = min(first + size, layer.tiles)
            here = sums[: (last - first) * tile]
            products = blocked(here.reshape(last - first, weight_rows, positions), self.blocks)
            self.stripes.append((self.patches[first:last], products, here, by_row[first * tile : last * tile]))
        # as long as a row, for a faster addition
        self.bias: np.ndarray = np.zeros((channels, 1, columns, n), layer.dtype)

        self.parts: np.ndarray = np.zeros((layer.tiles, self.blocks, layer.depth, weight_rows), dtype)
        self.ones: np.ndarray = np.ones(positions, dtype)
        # the gradient of ``tile`` lowered rows; after each line are as many zeros as a shift can reach
        dlowered: np.ndarray = np.zeros((tile, inputs, k, columns + k - 1, n), dtype)
        self.dlowered = blocked(dlowered.reshape(tile * lines, -1)[:, :positions], self.blocks)
        # pixel j was at position j + border - t of copy t: a step back for each copy, at times into those zeros
        row, channel, copy, column, number = dlowered.strides
        strides = row, channel, copy - column, column, number
        dcopies = np.ndarray((tile, inputs, k, width, n), dtype, dlowered, border * column, strides)
        dx: np.ndarray = np.zeros((height, inputs, width, n), layer.dtype)
        self.dx = by_rows(dx)
        self.input_rows = []  # weights, the lines of the output's gradient to multiply, the copies to add up, the sums
        for group in range(border // tile, -(-(border + height) // tile)):
            first, last, before = max(0, group - groups + 1), min(layer.tiles, group + 1), group - groups + 1
            weights = layer._transposed[:, (first - before) * weight_rows : (last - before) * weight_rows]
            touching = slice(first * weight_rows, last * weight_rows)
            top = group * tile - border
            start, stop = max(0, -top), min(tile, height - top)  # the group may reach into the border
            self.input_rows.append((weights, touching, dcopies[start:stop], dx[top + start : top + stop]))


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
