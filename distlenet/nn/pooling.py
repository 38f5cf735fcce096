"""What changes the size of pictures, (C, H, W, N) -> (C, H', W', N): pooling and padding."""

import numpy as np

from distlenet.errors import ConfigError
from distlenet.nn.layer import Layer, Parameter
from distlenet.nn.split import divided, merged, picture_size, plain, windows


class Pool2d(Layer):
    """A reduction over windows of ``window`` x ``window`` pixels, ``stride`` apart (default: the window).

    Rows and columns that do not fill a window are left out, as in the other frameworks. Works on the
    *taps*: one view of the input for each place in the window, all of the shape of the output. When the
    input comes split by a multiple of the window, the taps are contiguous blocks.
    """

    takes_split = shares_arrays = True

    def __init__(self, window: int = 2, stride: int | None = None) -> None:
        super().__init__()
        self.window, self.stride = window, stride or window

    @property
    def disjoint(self) -> bool:
        """True if the windows neither overlap nor leave gaps."""
        return self.window == self.stride

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See Layer.connect."""
        if len(shape) != 3:
            raise ConfigError(f"pooling needs pictures (C, H, W), got samples of shape {shape}")
        channels, height, width = shape
        self.rows, self.columns = (1 + (size - self.window) // self.stride for size in (height, width))
        if self.rows < 1 or self.columns < 1:
            raise ConfigError(f"a {self.window}x{self.window} window does not fit into {height}x{width} pixels")
        return channels, self.rows, self.columns

    def _is_split(self, x: np.ndarray) -> bool:
        return self.disjoint and self.window > 1 and not (x.shape[0] % self.window or x.shape[1] % self.window)

    def _taps(self, x: np.ndarray) -> list[np.ndarray]:
        """List the views of ``x`` (a, b, C, h, w, N), one for each place in the window."""
        w = self.window
        places = [(i, j) for i in range(w) for j in range(w)]
        if self._is_split(x):
            a, b = x.shape[:2]
            phases = x.reshape(a // w, w, b // w, w, *x.shape[2:])
            return [phases[:, i, :, j] for i, j in places]
        down, right = (self.stride * (count - 1) + 1 for count in (self.rows, self.columns))
        return [x[:, :, :, i : i + down : self.stride, j : j + right : self.stride] for i, j in places]

    def _enter(self, x: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the taps and the output buffer for ``x`` (a, b, C, h, w, N)."""
        self._shape = x.shape
        if not self._is_split(x):
            x = merged(x, self.scratch("plain", (1, 1, x.shape[2], *picture_size(x), x.shape[-1])))
        self._x = x
        taps = self._taps(x)
        self._out = self.scratch("out", taps[0].shape)
        return taps, self._out


class AveragePool2d(Pool2d):
    """The mean of each window."""

    output_is_free = True

    def forward(self, x: np.ndarray) -> np.ndarray:
        """See Layer.forward; ``x`` is (a, b, C, h, w, N)."""
        out = self._add_up(x)
        out *= 1 / self.window**2
        return out

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        """See Layer.backward; ``dy`` has the elements of (a', b', C, h', w', N)."""
        dy = dy.reshape(self._out.shape)
        return self._spread(np.multiply(dy, 1 / self.window**2, out=self.scratch("share", dy.shape)))

    def curvature(self, d2y: np.ndarray) -> np.ndarray | None:
        """See Layer.curvature: every input's share is 1 / window^2, squared."""
        return self.backward(d2y * (1 / self.window**2))

    def _add_up(self, x: np.ndarray) -> np.ndarray:
        """Return the sum of each window of ``x``."""
        taps, out = self._enter(x)
        first, *others = taps
        np.add(first, others.pop(0) if others else 0, out=out)
        for tap in others:
            out += tap
        return out

    def _spread(self, share: np.ndarray) -> np.ndarray:
        """Return the input's gradient if every place of a window gets the window's ``share``."""
        if self._is_split(self._x):  # every place of a window has the same gradient: a view will do
            a, b, w = share.shape[0], share.shape[1], self.window
            return np.broadcast_to(share[:, None, :, None], (a, w, b, w, *share.shape[2:]))
        dx = self.scratch("dx", self._x.shape)
        dx[...] = 0
        for tap in self._taps(dx):
            tap += share
        return divided(dx, self.scratch("split", self._shape))


class TrainablePool2d(AveragePool2d):
    """Subsampling: the sum of each window times a coefficient, plus a bias, one of each for a map.

    As the S layers of LeCun et al. 1998, the squashing left to an activation that follows. The start,
    whatever the initialisation, is the average: a coefficient of 1 / window^2 and no bias. With ``drawn``
    both are drawn like all other parameters.
    """

    def __init__(self, window: int = 2, stride: int | None = None, drawn: bool = False) -> None:
        super().__init__(window, stride)
        self.drawn = drawn

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See Layer.connect."""
        out = super().connect(shape)
        taps = self.window**2
        starts = (None, None) if self.drawn else (1 / taps, 0.0)
        self.parameters = tuple(
            Parameter(name, (shape[0],), taps, 1, start=start) for name, start in zip("Wb", starts, strict=True)
        )
        return out

    def forward(self, x: np.ndarray) -> np.ndarray:
        """See Layer.forward; ``x`` is (a, b, C, h, w, N)."""
        coefficient, bias = (parameter.value[:, None, None, None] for parameter in self.parameters)
        sums = self._add_up(x)
        out = np.multiply(sums, coefficient, out=self.scratch("scaled", sums.shape))
        out += bias
        return out

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        """See Layer.backward; ``dy`` has the elements of (a', b', C, h', w', N)."""
        coefficient, bias = self.parameters
        sums = self._out
        dy = dy.reshape(sums.shape)
        share = np.multiply(dy, sums, out=self.scratch("share", dy.shape))
        np.sum(share, axis=(0, 1, 3, 4, 5), out=coefficient.gradient)
        np.sum(dy, axis=(0, 1, 3, 4, 5), out=bias.gradient)
        if not self.needs_input_gradient:
            return None
        return self._spread(np.multiply(dy, coefficient.value[:, None, None, None], out=share))

    def curvature(self, d2y: np.ndarray) -> np.ndarray:
        """See Layer.curvature: the backward pass with sums and coefficients squared."""
        coefficient, bias = self.parameters
        d2y = d2y.reshape(self._out.shape)
        np.sum(d2y * np.square(self._out), axis=(0, 1, 3, 4, 5), out=coefficient.gradient)
        np.sum(d2y, axis=(0, 1, 3, 4, 5), out=bias.gradient)
        return self._spread(d2y * np.square(coefficient.value)[:, None, None, None])


class MaxPool2d(Pool2d):
    """The maximum of each window; among equals the first, in reading order, gets the gradient."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """See Layer.forward; ``x`` is (a, b, C, h, w, N)."""
        taps, out = self._enter(x)
        np.copyto(out, taps[0])
        for tap in taps[1:]:
            np.maximum(out, tap, out=out)
        return out

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """See Layer.backward; ``dy`` has the elements of (a', b', C, h', w', N)."""
        dy = dy.reshape(self._out.shape)
        dx = self.scratch("dx", self._x.shape)
        dx[...] = 0
        free = self.scratch("free", dy.shape, bool)
        free[...] = True
        hit = self.scratch("hit", dy.shape, bool)
        part = self.scratch("part", dy.shape)
        for tap, dtap in zip(self._taps(self._x), self._taps(dx), strict=True):
            np.equal(tap, self._out, out=hit)
            hit &= free
            free ^= hit
            dtap += np.multiply(dy, hit, out=part)
        return divided(dx, self.scratch("split", self._shape))

    def curvature(self, d2y: np.ndarray) -> np.ndarray:
        """See Layer.curvature: the largest has the slope 1."""
        return self.backward(d2y)


class Pad2d(Layer):
    """(C, H, W, N) -> (C, H + 2 border, W + 2 border, N); the border has the value ``value``."""

    takes_split = shares_arrays = output_is_free = True

    def __init__(self, border: int, value: float = 0.0) -> None:
        super().__init__()
        self.border, self.value = border, value

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See Layer.connect."""
        if len(shape) != 3:
            raise ConfigError(f"padding needs pictures (C, H, W), got samples of shape {shape}")
        channels, height, width = shape
        return channels, height + 2 * self.border, width + 2 * self.border

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the padded picture, plain, for ``x`` (a, b, C, h, w, N)."""
        self._shape = x.shape
        rows, columns = (size + 2 * self.border for size in picture_size(x))
        padded = self.scratch("padded", (1, 1, x.shape[2], rows, columns, x.shape[-1]))
        padded[...] = self.value  # all of it, every time: a layer that works in place may have changed the border
        for inner, outer in windows(x, padded, self.border, self.border):
            outer[...] = inner
        return padded

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """See Layer.backward; ``dy`` has the elements of ``forward``'s result."""
        a, b, channels, h, w, n = self._shape
        rows, columns = a * h + 2 * self.border, b * w + 2 * self.border
        dx = self.scratch("dx", self._shape)
        for inner, outer in windows(dx, plain(dy.reshape(channels, rows, columns, n)), self.border, self.border):
            inner[...] = outer
        return dx

    def curvature(self, d2y: np.ndarray) -> np.ndarray:
        """See Layer.curvature: every number goes to one place, and so does its second derivative."""
        return self.backward(d2y)
