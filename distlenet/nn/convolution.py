"""Two-dimensional convolution (cross-correlation, as everywhere in the field) by tiles.

The usual way, im2col, makes one column per output position, and a matrix product with as many rows as
output channels: six for the first layer of LeNet-5, far too few for a fast product. Here one column
holds the patch under a whole TILE of th x tw outputs, (kernel + th - 1) x (kernel + tw - 1) pixels a
channel, and the weight matrix has a row for each (place in the tile, output channel): the kernel,
shifted to its place, zeros elsewhere. The product then does some arithmetic on zeros but runs near the
machine's peak, and the patches take several times less memory. Its result comes out split by phase
(``split.py``), which is what pooling and the next convolution want.

The products are cut into blocks of positions that the BLAS does without copying their factors first.

One more row of ones under the patches makes the bias one more column of the weights: no pass over the
output for it, and its gradient falls out of the same product.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from distlenet.errors import ConfigError
from distlenet.nn.layer import Layer, Parameter
from distlenet.nn.split import picture_size, refined, windows

ENOUGH_ROWS = 24  # a product with fewer rows than this is slow; more only add arithmetic on zeros
VECTOR = 16  # numbers of float32 in the widest registers
LONG = 64  # a weight gradient is a sum over positions: blocks of fewer do not pay
SMALL = 1_000_000  # multiply-adds; OpenBLAS does products up to this size without copying their factors first


def choose_tile(channels: int, rows: int, columns: int, window: tuple[int, int]) -> tuple[int, int]:
    """Return the tile (th, tw): a multiple of the pooling window with at least ENOUGH_ROWS weight rows.

    It must divide the output (rows, columns); it grows along the columns first. Where the window does
    not divide the output, the tile is (1, 1).
    """
    th, tw = window
    if rows % th or columns % tw:
        return 1, 1
    while channels * th * tw < ENOUGH_ROWS:
        if columns % (2 * tw) == 0:
            tw *= 2
        elif rows % (2 * th) == 0:
            th *= 2
        else:
            break
    return th, tw


def choose_blocks(rows: int, depth: int, positions: int, shortest: int = VECTOR) -> int:
    """Return into how many blocks of positions to cut a product of these sizes, so that each is SMALL at most.

    The fewest that divide ``positions`` into lengths that are multiples of ``shortest``; 1 if there are none.
    """
    fewest = -(-rows * depth * positions // SMALL)
    fitting = (blocks for blocks in range(fewest, positions // shortest + 1) if positions % (blocks * shortest) == 0)
    return next(fitting, 1)


def blocked(matrix: np.ndarray, blocks: int) -> np.ndarray:
    """View ``matrix`` (rows, positions) as (blocks, rows, positions / blocks): matmul does them one by one."""
    return matrix.reshape(len(matrix), blocks, -1).swapaxes(0, 1)


class Conv2d(Layer):
    """Convolution with stride 1, (C, H, W, N) -> (channels, H', W', N).

    ``padding``: "valid" (none: H' = H - kernel + 1), "same" (H' = H; odd kernels) or "full"
    (H' = H + kernel - 1); the border is zero.
    """

    takes_split = shares_arrays = output_is_free = True

    def __init__(self, channels: int, kernel: int = 5, padding: str = "valid") -> None:
        super().__init__()
        borders = {"valid": 0, "same": kernel // 2, "full": kernel - 1}
        if padding not in borders:
            raise ConfigError(f"convolution padding is {padding!r}, expected valid, same or full")
        if padding == "same" and kernel % 2 == 0:
            raise ConfigError(f"convolution padding 'same' needs an odd kernel, got {kernel}")
        self.channels, self.kernel, self.border = channels, kernel, borders[padding]

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See Layer.connect."""
        if len(shape) != 3:
            raise ConfigError(f"a convolution needs pictures (C, H, W), got samples of shape {shape}")
        inputs, height, width = shape
        k = self.kernel
        rows, columns = height + 2 * self.border - k + 1, width + 2 * self.border - k + 1
        if rows < 1 or columns < 1:
            raise ConfigError(f"a {k}x{k} convolution does not fit into {height}x{width} pixels")
        self.tile = th, tw = choose_tile(self.channels, rows, columns, self.window_after)
        self.tiles = rows // th, columns // tw
        self.patch = inputs, k + th - 1, k + tw - 1
        self.parameters = self._make_parameters(inputs)
        self._places = [(p, q, slice(p, p + k), slice(q, q + k)) for p in range(th) for q in range(tw)]
        self._connect_weights()
        self._x: np.ndarray | None = None  # whose views are made
        self._dx: np.ndarray | None = None
        return self.channels, rows, columns

    def _make_parameters(self, inputs: int) -> tuple[Parameter, Parameter]:
        """Return the kernel and the bias for pictures of ``inputs`` channels."""
        k = self.kernel
        weights = Parameter("W", (self.channels, inputs, k, k), inputs * k * k, self.channels * k * k)
        return weights, Parameter("b", (self.channels,), inputs * k * k, 1)

    def full_kernel(self) -> np.ndarray:
        """Return the kernel (channels, C, kernel, kernel)."""
        return self.parameters[0].value

    def full_gradient(self) -> np.ndarray:
        """Return the array (channels, C, kernel, kernel) for the kernel's gradient."""
        return self.parameters[0].gradient

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return (th, tw, channels, H'/th, W'/tw, N) for ``x`` (a, b, C, H/a, W/b, N)."""
        n = x.shape[-1]
        weights = self._spread_weights()
        self._gather_patches(x)
        out = self.scratch("out", (*self.tile, self.channels, *self.tiles, n))
        rows, depth = weights.shape
        self._blocks_of = choose_blocks(rows, depth, self._columns.shape[1])
        flat = out.reshape(len(weights), -1)
        np.matmul(weights, blocked(self._columns, self._blocks_of), out=blocked(flat, self._blocks_of))
        return out

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        """See Layer.backward; ``dy`` has the elements of ``forward``'s result."""
        dout = dy.reshape(self.channels * len(self._places), -1)  # (weight rows, positions)
        columns = self._columns  # (patch + 1, positions)
        # the longer side first: the product of this order is up to a quarter faster
        blocks = choose_blocks(len(columns), len(dout), columns.shape[1], LONG)
        parts = self.scratch("dspread", (blocks, len(columns), len(dout)))
        np.matmul(blocked(columns, blocks), blocked(dout, blocks).swapaxes(1, 2), out=parts)
        self._gather_weight_gradient(parts.sum(axis=0) if blocks > 1 else parts[0])
        if not self.needs_input_gradient:
            return None
        kernel_rows = self._spread[:, :-1]
        dcolumns = self.scratch("dcolumns", (len(columns) - 1, columns.shape[1]))
        np.matmul(kernel_rows.T, blocked(dout, self._blocks_of), out=blocked(dcolumns, self._blocks_of))
        return self._scatter_patches(dcolumns.reshape(*self.patch, *self.tiles, -1))

    def curvature(self, d2y: np.ndarray) -> np.ndarray | None:
        """See Layer.curvature: the backward pass with patches and weights squared."""
        for factor in (self._columns, self._spread):  # the next forward makes them anew
            np.square(factor, out=factor)
        self._kernel.fill(np.nan)  # unlike any
        return self.backward(d2y)

    # ---- weights: from the kernel to the rows of the product, and the gradient back

    def _spread_weights(self) -> np.ndarray:
        """Return the weight rows (th*tw*channels, patch + 1), the last column the bias."""
        kernel, bias = self.full_kernel(), self.parameters[1].value
        flat = self._spread
        flat[:, -1].reshape(-1, self.channels)[...] = bias
        if not np.array_equal(kernel, self._kernel):  # they change once a step, and a step has several leaves
            np.copyto(self._kernel, kernel)
            for copy in self._copies:
                copy[...] = kernel
        return flat

    def _connect_weights(self) -> None:
        """Make the weight rows, all zero, and the views of the copies of the kernel within."""
        inputs, height, width = self.patch
        self._kernel: np.ndarray = np.zeros((self.channels, inputs, self.kernel, self.kernel), self.dtype)
        self._spread: np.ndarray = np.zeros(
            (len(self._places) * self.channels, inputs * height * width + 1), self.dtype
        )
        spread = self._spread[:, :-1].reshape(*self.tile, self.channels, *self.patch)  # a view
        self._copies = [spread[p, q, :, :, rows, columns] for p, q, rows, columns in self._places]

    def _gather_weight_gradient(self, dspread: np.ndarray) -> None:
        """Add up the gradient of each shifted copy of the kernel, in fixed order; (patch + 1, rows)."""
        dkernel, dbias = self.full_gradient(), self.parameters[1].gradient
        parts = dspread[:-1].reshape(*self.patch, *self.tile, self.channels).transpose(3, 4, 5, 0, 1, 2)
        for place, (p, q, rows, columns) in enumerate(self._places):
            part = parts[p, q, :, :, rows, columns]
            if place == 0:
                dkernel[...] = part
            else:
                dkernel += part
        np.sum(dspread[-1].reshape(-1, self.channels), axis=0, out=dbias)

    # ---- patches: from the picture to the columns of the product, and the gradient back
    #
    # With the picture seen split by the tile, pixel (I*th + s, J*tw + t) of the patch under tile (r, c) is
    # split[s, t, :, r + I, c + J]: a patch is a few whole blocks, and copies run over whole rows of tiles.

    def _gather_patches(self, x: np.ndarray) -> None:
        if x is not self._x:  # the views of a buffer are made once
            self._connect_buffers(x)
        for target, source in (*self._padding, *self._patches):
            np.copyto(target, source)

    def _connect_buffers(self, x: np.ndarray) -> None:
        """Make the views that copy ``x``, padded where need be, into the columns."""
        (th, tw), (inputs, height, width), n = self.tile, self.patch, x.shape[-1]
        rows, columns = picture_size(x)
        self._padding, padded = [], x
        fits = x.shape[0] in (1, th) and x.shape[1] == tw and not (rows % th or columns % tw)
        if self.border or not fits:
            high = -(-(rows + 2 * self.border) // th)
            wide = -(-(columns + 2 * self.border) // tw)
            padded = self.scratch("padded", (th, tw, inputs, high, wide, n))
            self._padding = [(b, a) for a, b in windows(x, padded, self.border, self.border)]
        size = inputs * height * width
        self._columns = self.scratch("columns", (size + 1, self.tiles[0] * self.tiles[1] * n))
        self._columns[-1] = 1
        patches = self._columns[:-1].reshape(inputs, height, width, *self.tiles, n)
        split = refined(padded, self.tile)
        self._patches = []
        for s in range(min(th, height)):
            for t in range(min(tw, width)):
                target = patches[:, s::th, t::tw]
                # pixels[:, I, J, r, c] is split[s, t, :, r + I, c + J]
                pixels = sliding_window_view(split[s, t], self.tiles, (1, 2)).transpose(0, 1, 2, 4, 5, 3)
                self._patches.append((target, pixels[:, : target.shape[1], : target.shape[2]]))
        self._x, self._padded, self._dx = x, padded, None

    def _scatter_patches(self, dcolumns: np.ndarray) -> np.ndarray:
        """Add every patch's gradient (C, patch rows, patch columns, tile rows, tile columns, N) to its pixels."""
        dx = self._connect_gradient(dcolumns) if self._dx is None else self._dx
        self._dpadded[...] = 0
        for target, source in self._dpatches:
            target += source
        for target, source in self._unpadding:
            np.copyto(target, source)
        return dx

    def _connect_gradient(self, dcolumns: np.ndarray) -> np.ndarray:
        """Make the views that add the columns' gradient to the pixels: a block (I, J) of all patches at a time,
        whose pixels are all different. Return the pixels' gradient.
        """
        (th, tw), (_, height, width) = self.tile, self.patch
        self._dpadded = self.scratch("dpadded", self._padded.shape)
        dx, self._unpadding = self._dpadded, []
        if self._padding and self._x is not None:
            dx = self.scratch("dx", self._x.shape)
            self._unpadding = windows(dx, self._dpadded, self.border, self.border)
        blocks = sliding_window_view(refined(self._dpadded, self.tile), self.tiles, (3, 4), writeable=True)
        self._dpatches = []
        for top in range(0, height, th):
            for left in range(0, width, tw):
                block = dcolumns[:, top : top + th, left : left + tw].transpose(1, 2, 0, 3, 4, 5)
                pixels = blocks[: block.shape[0], : block.shape[1], :, top // th, left // tw]
                self._dpatches.append((pixels.transpose(0, 1, 2, 4, 5, 3), block))
        self._dx = dx
        return dx


class PartialConv2d(Conv2d):
    """Output channel m sees the input channels ``table[m]``; there are no other weights.

    The weights are (connections, kernel, kernel), one kernel for each entry of the table, row by row. The
    product runs on the full kernel, zeros in the gaps: fast, and the same code as Conv2d.
    """

    def __init__(self, table: Sequence[Sequence[int]], kernel: int = 5, padding: str = "valid") -> None:
        super().__init__(len(table), kernel, padding)
        self.table = table

    def _make_parameters(self, inputs: int) -> tuple[Parameter, Parameter]:
        pairs = [(m, c) for m, row in enumerate(self.table) for c in row]
        self._outputs, self._inputs = np.array(pairs).T  # of each connection
        if self._inputs.max() >= inputs:
            raise ConfigError(f"a convolution's table names channel {self._inputs.max()}, its input has {inputs}")
        k = self.kernel
        self._full = self.channels, inputs, k, k
        fan_in = np.array([len(row) * k * k for row in self.table])  # (channels,)
        fan_out = np.bincount(self._inputs)[self._inputs] * k * k  # (connections,)
        weights = Parameter("W", (len(pairs), k, k), fan_in[self._outputs, None, None], fan_out[:, None, None])
        return weights, Parameter("b", (self.channels,), fan_in, 1)

    def full_kernel(self) -> np.ndarray:
        """See Conv2d.full_kernel."""
        kernel = self.scratch("kernel", self._full)  # zero where there is no connection
        kernel[self._outputs, self._inputs] = self.parameters[0].value
        return kernel

    def full_gradient(self) -> np.ndarray:
        """See Conv2d.full_gradient."""
        return self.scratch("dkernel", self._full)

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        """See Conv2d.backward."""
        dx = super().backward(dy)
        self.parameters[0].gradient[...] = self.full_gradient()[self._outputs, self._inputs]
        return dx
