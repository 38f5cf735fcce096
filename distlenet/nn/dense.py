"""Fully connected layers, and the step from pictures to vectors."""

import numpy as np

from distlenet.errors import ConfigError
from distlenet.nn.layer import Layer, Parameter
from distlenet.nn.split import divided, merged, picture_size


class Flatten(Layer):
    """Pictures (C, H, W, N) to vectors (C*H*W, N): a reshape, since samples come last."""

    takes_split = shares_arrays = True  # the output is not free: it may be the memory of the layer before

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See Layer.connect."""
        return (int(np.prod(shape)),)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return (C*H*W, N) for ``x`` (a, b, C, h, w, N)."""
        self._shape, n = x.shape, x.shape[-1]
        return merged(x, self.scratch("plain", (1, 1, x.shape[2], *picture_size(x), n))).reshape(-1, n)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return the split picture's gradient for ``dy`` (C*H*W, N)."""
        a, b, channels, rows, columns, n = self._shape
        return divided(dy.reshape(1, 1, channels, a * rows, b * columns, n), self.scratch("split", self._shape))

    def curvature(self, d2y: np.ndarray) -> np.ndarray:
        """See Layer.curvature: every number goes to one place, and so does its second derivative."""
        return self.backward(d2y)


class Dense(Layer):
    """y = W x + b, (inputs, N) -> (units, N)."""

    takes_split = shares_arrays = output_is_free = True

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See Layer.connect."""
        if len(shape) != 1:
            raise ConfigError(f"a dense layer needs vectors, got samples of shape {shape}: put a Flatten before it")
        (inputs,) = shape
        weights = Parameter("W", (self.units, inputs), inputs, self.units)
        self.parameters = (weights, Parameter("b", (self.units,), inputs, 1))
        return (self.units,)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return (units, N) for ``x`` (inputs, N)."""
        weights, bias = (parameter.value for parameter in self.parameters)
        self._x = x
        out = np.matmul(weights, x, out=self.scratch("out", (self.units, x.shape[-1])))
        out += bias[:, None]
        return out

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        """Return (inputs, N) for ``dy`` (units, N)."""
        weights, bias = self.parameters
        np.matmul(dy, self._x.T, out=weights.gradient)
        np.sum(dy, axis=1, out=bias.gradient)
        if not self.needs_input_gradient:
            return None
        return np.matmul(weights.value.T, dy, out=self.scratch("dx", self._x.shape))

    def curvature(self, d2y: np.ndarray) -> np.ndarray:
        """Return (inputs, N) for ``d2y`` (units, N): the backward pass with inputs and weights squared."""
        weights, bias = self.parameters
        np.matmul(d2y, np.square(self._x).T, out=weights.gradient)
        np.sum(d2y, axis=1, out=bias.gradient)
        return np.matmul(np.square(weights.value).T, d2y)
