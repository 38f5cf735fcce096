"""Elementwise activations: any shape in, the same shape out."""

import numpy as np

from distlenet.nn.layer import Layer


class Activation(Layer):
    """An elementwise function whose derivative is known from its own output."""

    elementwise = True
    reads_output_in_backward = True

    def forward(self, x: np.ndarray) -> np.ndarray:
        """See Layer.forward."""
        self._out = x if self.in_place else self.scratch("out", x.shape)
        self.apply(x, self._out)
        return self._out

    def apply(self, x: np.ndarray, out: np.ndarray) -> None:
        """Write the function of ``x`` (any shape) to ``out`` (the same shape; may be ``x`` itself)."""
        raise NotImplementedError


class ReLU(Activation):
    """max(x, 0)."""

    def apply(self, x: np.ndarray, out: np.ndarray) -> None:
        """See Activation.apply."""
        # against an array of zeros: numpy's maximum with a scalar is three times slower
        np.maximum(x, self.scratch("zeros", x.shape[-2:]), out=out)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """See Layer.backward."""
        out = self._out.reshape(dy.shape)
        positive = np.greater(out, 0, out=self.scratch("positive", dy.shape, bool))
        np.multiply(dy, positive, out=out)  # the output has served: its memory takes the gradient
        return self._out


class Tanh(Activation):
    """The hyperbolic tangent."""

    def apply(self, x: np.ndarray, out: np.ndarray) -> None:
        """See Activation.apply."""
        np.tanh(x, out=out)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """See Layer.backward; d tanh = 1 - tanh^2."""
        out = self._out.reshape(dy.shape)
        np.multiply(out, out, out=out)
        np.subtract(1, out, out=out)
        np.multiply(out, dy, out=out)
        return self._out
