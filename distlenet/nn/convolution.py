"""Two-dimensional convolution (cross-correlation, as everywhere in the field) without a patch matrix.

The usual way, im2col, copies the patch under every output into a matrix, kernel^2 times as large as the
picture, and multiplies it by the kernels. Here a picture is only *lowered* along its columns: each row is
copied ``kernel`` times, each time shifted by one more pixel. One channel and a 3x3 kernel:

    picture          lowered picture, as it lies in memory
    a b c d e        a b c   row 0                       |
    f g h i j        b c d   row 0, shifted by 1         |
    k l m n o        c d e   row 0, shifted by 2         | patches of
    p q r s t        f g h   row 1                    |  | output row 0
                     g h i                            |  |
                     h i j                            |  |
                     k l m   row 2         patches of |  |
                     l m n               output row 1 |  |
                     m n o                            |  |
                     p q r   row 3                    |
                     q r s                            |
                     r s t                            |

The first nine lines are the patches of output row 0: their first column, a b c f g h k l m, is what the first
output sees. The patches of output row 1 are the nine lines that start one row of the picture further down.
So patches are overlapping *views* that need no further copy, and ``np.matmul`` takes those of all output rows
as one batch (Cho and Brand, MEC, ICML 2017). Each letter stands for that pixel in all samples, the last axis.

The backward pass works the same way. The gradient of a row of the lowered picture is one product: the kernels,
side by side, times the output rows that saw the row, which are adjacent in memory. Then the shifted copies of
the row are added up, while they are still in the cache.

If a product would have few rows, ``tile`` output rows are computed together: the kernel is repeated, one
row further down each time, with zeros above and below.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from distlenet.errors import ConfigError
from distlenet.nn.layer import Layer, Parameter
from distlenet.nn.lowering import VECTOR, Buffers, blocked, by_rows

ENOUGH_ROWS = 12  # a product with fewer rows than this is slow on some CPUs; more only add arithmetic on zeros


def choose_tile(channels: int, rows: int) -> int:
    """Return how many of the output's ``rows`` to compute together: the fewest of 1, 2 and 4 that are enough."""
    fitting = [tile for tile in (1, 2, 4) if rows % tile == 0]
    return next((tile for tile in fitting if tile * channels >= ENOUGH_ROWS), fitting[-1])


class Conv2d(Layer):
    """Convolution with stride 1, (C, H, W, N) -> (channels, H', W', N).

    ``padding``: "valid" (none: H' = H - kernel + 1), "same" (H' = H; odd kernels) or "full"
    (H' = H + kernel - 1); the border is zero.
    """

    shares_arrays = output_is_free = True

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
        self.shape, self.out_shape = shape, (self.channels, rows, columns)
        self.arithmetic.check_terms(max(inputs, self.channels) * k * k, f"a pixel of a {k}x{k} convolution")
        self.arithmetic.check_terms(rows * columns, "the gradient of a convolution's weight, for one image,")
        self.tile = tile = choose_tile(self.channels, rows)
        self.tiles = rows // tile
        self.depth = (k + tile - 1) * inputs * k  # numbers in a patch
        self.groups = groups = 1 + -(-(k - 1) // tile)  # tiles that touch ``tile`` neighbouring rows of the picture
        self._spread = b""  # the kernel that was spread last
        self._weights: np.ndarray = np.zeros((tile, self.channels, groups * tile, inputs, k), self.product_dtype)
        self._transposed: np.ndarray = np.zeros((tile * inputs * k, groups * tile * self.channels), self.product_dtype)
        self._buffers: dict[int, Buffers] = {}  # by the number of samples
        self.parameters = self._make_parameters(inputs)
        return self.out_shape

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the buffers: copying would detach their views, so a copy of the layer makes its own."""
        return {**vars(self), "_buffers": {}}

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
        """Return (channels, H', W', N) for ``x`` (C, H, W, N)."""
        self._samples = x.shape[-1]
        buffers, rows = self._buffers_for(self._samples), by_rows(self.arithmetic.factor(x, self, "x"))
        for target, pixels in buffers.copies:
            np.copyto(target, rows[:, :, pixels])
        few, depth = buffers.ahead
        weights = self._spread_weights()[:few, :depth]
        for patches, products, sums, out in buffers.stripes:
            np.matmul(weights, patches, out=products)
            self.arithmetic.rounded(sums, out)
        buffers.bias[...] = self.parameters[1].value[:, None, None, None]
        return np.add(buffers.out, buffers.bias, out=buffers.out)

    def _buffers_for(self, n: int) -> Buffers:
        """Return the buffers for ``n`` samples, made at the first request."""
        if n not in self._buffers:
            self._buffers[n] = Buffers(self, n)
        return self._buffers[n]

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        """See Layer.backward; ``dy`` has the elements of ``forward``'s result."""
        dy = self.arithmetic.factor(dy.reshape(*self.out_shape, -1), self, "dy")
        by_row = np.ascontiguousarray(by_rows(dy))  # no copy if in this order already
        dout = by_row.reshape(self.tiles, self.tile * self.channels, -1)
        self._write_gradients(dout)
        return self._input_gradient(dout) if self.needs_input_gradient else None

    def curvature(self, d2y: np.ndarray) -> np.ndarray | None:
        """See Layer.curvature: the backward pass with patches and weights squared."""
        lowered = self._buffers[self._samples].lowered
        for factor in (lowered, self._weights, self._transposed):  # the next forward writes them again
            np.square(factor, out=factor)
            self.arithmetic.refactor(factor)
        self._spread = b""
        return self.backward(d2y)

    def _spread_weights(self) -> np.ndarray:
        """Return the weights (tile * channels, rows of the picture * C * kernel), zeros around each kernel."""
        kernel, weights = self.full_kernel(), self._weights.reshape(self.tile * self.channels, -1)
        if kernel.tobytes() != self._spread:  # it changes once a step, and a step has several leaves
            self._spread, factor = kernel.tobytes(), self.arithmetic.factor(kernel, self, "W")
            for row in range(self.tile):
                self._weights[row, :, row : row + self.kernel] = factor.swapaxes(1, 2)
            # the first of the tiles that touch a row of the picture does so with the last row of the kernel
            backwards = weights.reshape(len(weights), self.groups, -1)[:, ::-1]
            self._transposed.reshape(-1, self.groups, len(weights))[...] = backwards.transpose(2, 1, 0)
        return weights

    def _write_gradients(self, dout: np.ndarray) -> None:
        """Write the gradients of kernel and bias for ``dout`` (tiles, tile * channels, W' * N)."""
        first, *others = (self._kernel_sums(*part) for part in self._spans(dout))
        self.arithmetic.store(sum(others, start=first), self.full_gradient())
        sums = np.add.reduce(np.matmul(dout, self._buffers[self._samples].ones).reshape(-1, self.channels))
        self.arithmetic.store(sums, self.parameters[1].gradient)

    def _spans(self, dout: np.ndarray) -> Iterator[tuple[Buffers, np.ndarray]]:
        """Yield the parts of the samples that a product may sum over, each with its ``dout``; natively all samples."""
        n, (_, rows, columns) = self._samples, self.out_shape
        whole, spans = self._buffers[n], self.arithmetic.spans(rows * columns, n)
        if len(spans) == 1:
            yield whole, dout
            return
        for span in spans:
            part = self._buffers_for(span.stop - span.start)
            np.copyto(part.lowered, whole.lowered[..., span])
            picked = dout.reshape(*dout.shape[:2], columns, n)[..., span]
            yield part, np.ascontiguousarray(picked).reshape(*dout.shape[:2], -1)

    def _kernel_sums(self, buffers: Buffers, dout: np.ndarray) -> np.ndarray:
        """Return the kernel's gradient (channels, C, kernel, kernel) for ``dout`` (tiles, tile * channels, W' * N)."""
        patches, dproducts = buffers.patches, blocked(dout, buffers.blocks)
        inputs, rows, parts, k = self.shape[0], dout.shape[1], buffers.parts, self.kernel
        if rows >= VECTOR:  # short lines are fastest, as long as they fill a register
            upright = dproducts.swapaxes(-1, -2)
            if buffers.upright is not None:
                np.copyto(buffers.upright, upright)
                upright = buffers.upright
            np.matmul(patches, upright, out=parts)
            total = np.add.reduce(parts.reshape(-1, self.depth * rows))
            shifted = total.reshape(-1, inputs, k, self.tile, self.channels).transpose(3, 4, 1, 0, 2)
        else:
            parts = parts.reshape(*parts.shape[:2], rows, self.depth)
            np.matmul(dproducts, patches.swapaxes(-1, -2), out=parts)
            total = np.add.reduce(parts.reshape(-1, rows * self.depth))
            shifted = total.reshape(self.tile, self.channels, -1, inputs, k).swapaxes(2, 3)
        dkernel: np.ndarray = shifted[0, :, :, :k]
        for row in range(1, self.tile):
            dkernel = dkernel + shifted[row, :, :, row : row + k]
        return dkernel

    def _input_gradient(self, dout: np.ndarray) -> np.ndarray:
        """Return the gradient of the picture (C, H, W, N) for ``dout`` (tiles, tile * channels, W' * N)."""
        buffers, (tiles, rows, positions) = self._buffers[self._samples], dout.shape
        lines = blocked(dout.reshape(tiles * rows, positions), buffers.blocks)
        for products, dcopies, dx in buffers.input_rows:
            for weights, touching, product in products:
                np.matmul(weights, lines[:, touching], out=product)
            np.add.reduce(dcopies, axis=2, dtype=self.product_dtype, out=dx)
        return buffers.dx
