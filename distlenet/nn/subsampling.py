"""Trainable subsampling, the pooling of LeCun et al. 1998."""

import numpy as np

from distlenet.nn.parameter import Parameter
from distlenet.nn.pooling import Pool2d


class Subsampling(Pool2d):
    """The sum of each window, times a coefficient, plus a bias: one of each a channel."""

    def __init__(self, window: int = 2) -> None:
        super().__init__(window)

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See Layer.connect."""
        out = super().connect(shape)
        fan_in = self.window**2
        self.parameters = (Parameter("W", out[:1], fan_in, 1), Parameter("b", out[:1], fan_in, 1))
        return out

    def forward(self, x: np.ndarray) -> np.ndarray:
        """See Layer.forward; ``x`` is (a, b, C, h, w, N)."""
        coefficient, bias = (parameter.value[:, None, None, None] for parameter in self.parameters)
        taps, out = self._enter(x)
        self._sums = sums = self.scratch("sums", out.shape)
        np.copyto(sums, taps[0])
        for tap in taps[1:]:
            sums += tap
        np.multiply(sums, coefficient, out=out)
        out += bias
        return out

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """See Layer.backward; ``dy`` has the elements of (a', b', C, h', w', N)."""
        return self._pass_back(dy, self._sums, self.parameters[0].value)

    def curvature(self, d2y: np.ndarray) -> np.ndarray:
        """See Layer.curvature: the backward pass with sums and coefficients squared."""
        return self._pass_back(d2y, np.square(self._sums), np.square(self.parameters[0].value))

    def _pass_back(self, dy: np.ndarray, sums: np.ndarray, coefficient: np.ndarray) -> np.ndarray:
        dy = dy.reshape(self._out.shape)
        for parameter, product in zip(self.parameters, (np.multiply(dy, sums), dy), strict=True):
            np.sum(product, axis=(0, 1, 3, 4, 5), out=parameter.gradient)
        return self._spread(np.multiply(dy, coefficient[:, None, None, None], out=self.scratch("share", dy.shape)))
