"""Fully connected layers, and the step from pictures to vectors."""

import numpy as np

from distlenet.errors import ConfigError
from distlenet.nn.layer import Layer, Parameter


class Flatten(Layer):
    """Pictures (C, H, W, N) to vectors (C*H*W, N): a copy, since in memory a picture's rows come first."""

    shares_arrays = output_is_free = True

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See Layer.connect."""
        self._shape, self._size = shape, int(np.prod(shape))
        return (self._size,)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return (C*H*W, N) for ``x`` (C, H, W, N)."""
        out = self.scratch("out", (self._size, x.shape[-1]))
        np.copyto(out.reshape(x.shape), x)
        return out

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return the picture's gradient (C, H, W, N) for ``dy`` (C*H*W, N)."""
        return dy.reshape(*self._shape, -1)

    def curvature(self, d2y: np.ndarray) -> np.ndarray:
        """See Layer.curvature: each element is copied to one position."""
        return self.backward(d2y)


class Dense(Layer):
    """y = W x + b, (inputs, N) -> (units, N)."""

    shares_arrays = output_is_free = True

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
        shape = self.units, x.shape[-1]
        arithmetic = self.arithmetic
        self._x, self._weights = arithmetic.factor(x, self, "x"), arithmetic.kept_factor(weights, self, "W")
        out = arithmetic.matmul(self._weights, self._x, self.scratch("out", shape), self)
        out += bias[:, None]
        return out

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        """Return (inputs, N) for ``dy`` (units, N)."""
        weights, bias = self.parameters
        arithmetic, dy = self.arithmetic, self.arithmetic.factor(dy, self, "dy")
        arithmetic.matmul(dy, self._x.T, weights.gradient, self)
        arithmetic.sum(dy, axis=1, out=bias.gradient)
        if not self.needs_input_gradient:
            return None
        return arithmetic.matmul(self._weights.T, dy, self.scratch("dx", self._x.shape), self)

    def curvature(self, d2y: np.ndarray) -> np.ndarray | None:
        """Return (inputs, N) for ``d2y`` (units, N): the backward pass with inputs and weights squared."""
        x, weights = np.square(self._x), np.square(self._weights)
        for factor in (x, weights):
            self.arithmetic.refactor(factor)
        self._x, self._weights = x, weights
        return self.backward(d2y)
