"""A border of one value around pictures."""

import numpy as np

from distlenet.errors import ConfigError
from distlenet.nn.layer import Layer
from distlenet.nn.split import picture_size, plain, windows


class Pad2d(Layer):
    """(C, H, W, N) -> (C, H + 2 border, W + 2 border, N); the border has the value ``value``."""

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

    curvature = backward  # every number goes to one place, and so does its second derivative
