"""Layers that change the size of pictures, (C, H, W, N) -> (C, H', W', N): pooling and padding."""

from typing import Final, Literal

import numpy as np

from distlenet.errors import ConfigError
from distlenet.nn.layer import Layer, Parameter

Axis = Literal[1, 2]
ROWS: Final = 1  # axes of a picture
COLUMNS: Final = 2


class Pool2d(Layer):
    """A reduction over windows of ``window`` x ``window`` pixels, ``stride`` apart (default: the window).

    Rows and columns that do not fill a window are left out, as in other frameworks. The two axes are
    reduced one after the other. Each works on its *taps*: one view of the picture for each position within
    the window, all as long as the output along that axis.
    """

    shares_arrays = True

    def __init__(self, window: int = 2, stride: int | None = None) -> None:
        super().__init__()
        self.window, self.stride = window, stride or window

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See Layer.connect."""
        if len(shape) != 3:
            raise ConfigError(f"pooling needs pictures (C, H, W), got samples of shape {shape}")
        self._shape = channels, height, width = shape
        self.rows, self.columns = (1 + (size - self.window) // self.stride for size in (height, width))
        if self.rows < 1 or self.columns < 1:
            raise ConfigError(f"a {self.window}x{self.window} window does not fit into {height}x{width} pixels")
        self._steps = {ROWS: self._step(self.rows), COLUMNS: self._step(self.columns)}
        self._window_of = np.arange(width) // self.window  # for each column, if each is in one window
        return channels, self.rows, self.columns

    def _step(self, windows: int) -> list[slice]:
        """Return the slices of one axis that hold the first, second, ... pixels of all its ``windows``."""
        reach = self.stride * (windows - 1) + 1
        return [slice(start, start + reach, self.stride) for start in range(self.window)]

    def _covers(self, axis: Axis) -> bool:
        """Return whether each row or column of the input is in one window, and only one."""
        return self.window == self.stride and self._shape[axis] % self.window == 0

    def _taps(self, x: np.ndarray, axis: Axis) -> list[np.ndarray]:
        """List the taps of the picture ``x`` along ``axis``."""
        if axis == ROWS:
            return [x[:, step] for step in self._steps[ROWS]]
        return [x[:, :, step] for step in self._steps[COLUMNS]]

    def _as_output(self, dy: np.ndarray) -> np.ndarray:
        """View ``dy``, which has the elements of the output, in the output's shape."""
        return dy.reshape(self._shape[0], self.rows, self.columns, -1)


class AveragePool2d(Pool2d):
    """The mean of each window."""

    output_is_free = True

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return (C, H', W', N) for ``x`` (C, H, W, N)."""
        out = self._add_up(x)
        out *= 1 / self.window**2
        return out

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        """See Layer.backward; ``dy`` has the elements of (C, H', W', N)."""
        dy = self._as_output(dy)
        return self._spread(np.multiply(dy, 1 / self.window**2, out=self.scratch("share", dy.shape)))

    def curvature(self, d2y: np.ndarray) -> np.ndarray | None:
        """See Layer.curvature: every input's share is 1 / window^2, squared."""
        return self.backward(d2y * (1 / self.window**2))

    def _add_up(self, x: np.ndarray) -> np.ndarray:
        """Return the sum (C, H', W', N) of each window of ``x``."""
        self._out = self._sum("out", self._taps(self._sum("rows", self._taps(x, ROWS)), COLUMNS))
        return self._out

    def _sum(self, key: str, taps: list[np.ndarray]) -> np.ndarray:
        out = self.scratch(key, taps[0].shape)
        np.add(taps[0], taps[1] if self.window > 1 else 0, out=out)
        for tap in taps[2:]:
            out += tap
        return out

    def _spread(self, share: np.ndarray) -> np.ndarray:
        """Return the input's gradient if every position of a window gets the window's ``share`` (C, H', W', N)."""
        (channels, height, width), n = self._shape, share.shape[-1]
        wide = self.scratch("rows", (channels, self.rows, width, n))  # no longer needed for the sums
        if self._covers(COLUMNS):  # in the order of memory: many small copies, made by one call
            share.swapaxes(0, 1).take(self._window_of, axis=2, out=wide.swapaxes(0, 1), mode="clip")
        else:
            self._deal(share, wide, COLUMNS)
        if not self._covers(ROWS):
            return self._deal(wide, self.scratch("dx", (channels, height, width, n)), ROWS)
        # all rows of a window have the same gradient: a view is enough
        channel, row, *rest = wide.strides
        return np.ndarray(
            (channels, self.rows, self.window, width, n),
            wide.dtype,
            wide.swapaxes(0, 1),
            strides=(channel, row, 0, *rest),
        )

    def _deal(self, share: np.ndarray, dx: np.ndarray, axis: Axis) -> np.ndarray:
        """Set ``dx`` to the sums of the shares that reach each row or column along ``axis``; return ``dx``."""
        dx[...] = 0
        for tap in self._taps(dx, axis):
            tap += share
        return dx


class TrainablePool2d(AveragePool2d):
    """Subsampling: the sum of each window times a coefficient, plus a bias; one of each per channel.

    These are the S layers of LeCun et al. 1998, without their activation. Whatever the initialisation, they start as
    the average: the coefficient is 1 / window^2, the bias 0. With ``drawn``, both are drawn like other parameters.
    """

    def __init__(self, window: int = 2, stride: int | None = None, drawn: bool = False) -> None:
        super().__init__(window, stride)
        self.drawn = drawn

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See Layer.connect."""
        out = super().connect(shape)
        self.arithmetic.check_terms(self.rows * self.columns, "the gradient of a pooling coefficient, for one image,")
        taps = self.window**2
        starts = (None, None) if self.drawn else (1 / taps, 0.0)
        self.parameters = tuple(
            Parameter(name, (shape[0],), taps, 1, start=start) for name, start in zip("Wb", starts, strict=True)
        )
        return out

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return (C, H', W', N) for ``x`` (C, H, W, N)."""
        coefficient, bias = (parameter.value[:, None, None, None] for parameter in self.parameters)
        sums = self._add_up(x)
        out = np.multiply(sums, coefficient, out=self.scratch("scaled", sums.shape))
        out += bias
        return out

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        """See Layer.backward; ``dy`` has the elements of (C, H', W', N)."""
        coefficient, bias = self.parameters
        arithmetic, dy = self.arithmetic, self._as_output(dy)
        sums, factor = arithmetic.factor(self._out, self, "sums"), arithmetic.factor(dy, self, "dy")
        products = np.multiply(factor, sums, out=self.scratch("share", dy.shape, self.product_dtype))
        arithmetic.sum(products, axis=(1, 2, 3), out=coefficient.gradient)
        arithmetic.sum(factor, axis=(1, 2, 3), out=bias.gradient)
        if not self.needs_input_gradient:
            return None
        share = self.scratch("share", dy.shape)
        return self._spread(np.multiply(dy, coefficient.value[:, None, None, None], out=share))

    def curvature(self, d2y: np.ndarray) -> np.ndarray:
        """See Layer.curvature: the backward pass with sums and coefficients squared."""
        coefficient, bias = self.parameters
        arithmetic, d2y = self.arithmetic, self._as_output(d2y)
        squares, factor = np.square(arithmetic.factor(self._out, self, "sums")), arithmetic.factor(d2y, self, "dy")
        arithmetic.refactor(squares)
        arithmetic.sum(factor * squares, axis=(1, 2, 3), out=coefficient.gradient)
        arithmetic.sum(factor, axis=(1, 2, 3), out=bias.gradient)
        return self._spread(d2y * np.square(coefficient.value)[:, None, None, None])


class MaxPool2d(Pool2d):
    """The maximum of each window; if several are equal, the first in reading order gets the gradient."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return (C, H', W', N) for ``x`` (C, H, W, N)."""
        self._x = x
        self._rows = self._largest("rows", self._taps(x, COLUMNS))  # (C, H, W', N): of each row of a window
        self._out = self._largest("out", self._taps(self._rows, ROWS))
        return self._out

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """See Layer.backward; ``dy`` has the elements of (C, H', W', N)."""
        drows = self._choose("drows", self._rows, self._out, self._as_output(dy), ROWS)  # the first row, then
        return self._choose("dx", self._x, self._rows, drows, COLUMNS)  # the first in it: that is reading order

    def curvature(self, d2y: np.ndarray) -> np.ndarray:
        """See Layer.curvature: the derivative of the maximum is 1."""
        return self.backward(d2y)

    def _largest(self, key: str, taps: list[np.ndarray]) -> np.ndarray:
        out = self.scratch(key, taps[0].shape)
        np.maximum(taps[0], taps[-1], out=out)
        for tap in taps[1:-1]:
            np.maximum(out, tap, out=out)
        return out

    def _choose(self, key: str, x: np.ndarray, largest: np.ndarray, dy: np.ndarray, axis: Axis) -> np.ndarray:
        """Return the gradient of ``x``: ``dy`` goes to the first tap along ``axis`` that equals ``largest``."""
        dx, rest, apart = self.scratch(key, x.shape), dy, self._covers(axis)
        hit = self.scratch(f"{key} hit", dy.shape, bool)
        part, left = self.scratch(f"{key} part", dy.shape), self.scratch(f"{key} left", dy.shape)
        (*taps, _), (*dtaps, last) = self._taps(x, axis), self._taps(dx, axis)
        if not apart:
            dx[...] = 0
        for tap, dtap in zip(taps, dtaps, strict=True):
            np.equal(tap, largest, out=hit)
            given = np.multiply(rest, hit, out=dtap if apart else part)
            if not apart:
                dtap += given
            rest = np.subtract(rest, given, out=left)
        if apart:
            np.copyto(last, rest)
        else:
            last += rest
        return dx


class Pad2d(Layer):
    """(C, H, W, N) -> (C, H + 2 border, W + 2 border, N); the border has the value ``value``."""

    shares_arrays = output_is_free = True

    def __init__(self, border: int, value: float = 0.0) -> None:
        super().__init__()
        self.border, self.value = border, value

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See Layer.connect."""
        if len(shape) != 3:
            raise ConfigError(f"padding needs pictures (C, H, W), got samples of shape {shape}")
        channels, height, width = shape
        self._padded = channels, height + 2 * self.border, width + 2 * self.border
        self._inner = np.s_[:, self.border : self.border + height, self.border : self.border + width]
        return self._padded

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the padded picture for ``x`` (C, H, W, N)."""
        padded = self.scratch("padded", (*self._padded, x.shape[-1]))
        padded[...] = self.value  # every time, since a layer that works in place may have changed the border
        padded[self._inner] = x
        return padded

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """See Layer.backward; ``dy`` has the elements of ``forward``'s result."""
        return dy.reshape(*self._padded, -1)[self._inner]

    def curvature(self, d2y: np.ndarray) -> np.ndarray:
        """See Layer.curvature: each element is copied to one position."""
        return self.backward(d2y)
