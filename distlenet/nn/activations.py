"""Elementwise activations: any shape in, the same shape out."""

import numpy as np

from distlenet.nn.layer import Layer


class Activation(Layer):
    """An elementwise function whose derivative is known from its own output.

    If yours is not, compute the derivative in ``apply`` and keep it in a buffer of ``scratch``, because ``x`` may be
    overwritten later. ``dy`` may have another shape than ``x``, with the same elements in the same order.
    """

    elementwise = shares_arrays = True

    def forward(self, x: np.ndarray) -> np.ndarray:
        """See Layer.forward."""
        self._out = x if self.in_place else self.scratch("out", x.shape)
        self.apply(x, self._out)
        return self._out

    def apply(self, x: np.ndarray, out: np.ndarray) -> None:
        """Write the function of ``x`` (any shape) to ``out`` (the same shape; may be ``x`` itself)."""
        raise NotImplementedError

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """See Layer.backward; the gradient overwrites the output, which is no longer needed."""
        self.differentiate(dy, self._out.reshape(dy.shape))
        return self._out

    def differentiate(self, dy: np.ndarray, out: np.ndarray) -> None:
        """Overwrite the output ``out`` with the function's derivative times ``dy`` (the same shape)."""
        raise NotImplementedError

    def curvature(self, d2y: np.ndarray) -> np.ndarray:
        """See Layer.curvature: as ``backward``, with the derivative squared."""
        slope: np.ndarray = self.backward(np.ones_like(self._out))
        slope *= slope
        slope *= d2y.reshape(slope.shape)
        return slope


class ReLU(Activation):
    """max(x, 0)."""

    def apply(self, x: np.ndarray, out: np.ndarray) -> None:
        """See Activation.apply."""
        # with an array of zeros, as long as a row of a picture: numpy's maximum with a scalar is three times slower
        zeros = self.scratch("zeros", (len(x), 1, *x.shape[2:]) if x.ndim == 4 else x.shape)
        np.maximum(x, zeros, out=out)

    def differentiate(self, dy: np.ndarray, out: np.ndarray) -> None:
        """See Activation.differentiate."""
        # the bits as integers: those of 0 are 0, so the sign is the mask, and 1 or 0 times dy's bits is dy or 0; a mask
        # of floats takes two thirds longer
        bits = out.view(f"u{out.itemsize}")
        np.sign(bits, out=bits)
        np.multiply(bits, np.asarray(dy, out.dtype).view(bits.dtype), out=bits)


class Tanh(Activation):
    """The hyperbolic tangent."""

    def apply(self, x: np.ndarray, out: np.ndarray) -> None:
        """See Activation.apply."""
        self.arithmetic.tanh(x, out=out)

    def differentiate(self, dy: np.ndarray, out: np.ndarray) -> None:
        """See Activation.differentiate; d tanh = 1 - tanh^2."""
        np.multiply(out, out, out=out)
        np.subtract(1, out, out=out)
        np.multiply(out, dy, out=out)


class Sigmoid(Activation):
    """The logistic function 1 / (1 + exp(-x))."""

    def apply(self, x: np.ndarray, out: np.ndarray) -> None:
        """See Activation.apply; written as (1 + tanh(x / 2)) / 2, which cannot overflow."""
        np.multiply(x, 0.5, out=out)
        self.arithmetic.tanh(out, out=out)
        out += 1
        out *= 0.5

    def differentiate(self, dy: np.ndarray, out: np.ndarray) -> None:
        """See Activation.differentiate; d sigmoid = sigmoid * (1 - sigmoid)."""
        rest = np.subtract(1, out, out=self.scratch("rest", self._out.shape).reshape(dy.shape))
        out *= rest
        out *= dy


class LeakyReLU(Activation):
    """max(x, slope * x) with a ``slope`` of 0 to 1 (Maas et al. 2013: 0.01)."""

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        self.slope = slope

    def apply(self, x: np.ndarray, out: np.ndarray) -> None:
        """See Activation.apply."""
        leak = np.multiply(x, self.slope, out=self.scratch("leak", x.shape))
        np.maximum(x, leak, out=out)

    def differentiate(self, dy: np.ndarray, out: np.ndarray) -> None:
        """See Activation.differentiate; the output has the sign of the input."""
        positive = np.greater(self._out, 0, out=self.scratch("positive", self._out.shape, bool)).reshape(dy.shape)
        np.multiply(dy, self.slope, out=out)
        np.copyto(out, dy, where=positive)


class ELU(Activation):
    """x where it is positive, else exp(x) - 1 (Clevert et al. 2016, with alpha = 1)."""

    def apply(self, x: np.ndarray, out: np.ndarray) -> None:
        """See Activation.apply."""
        below = np.minimum(x, 0, out=self.scratch("below", x.shape))
        self.arithmetic.expm1(below, out=below)
        np.maximum(x, 0, out=out)
        out += below

    def differentiate(self, dy: np.ndarray, out: np.ndarray) -> None:
        """See Activation.differentiate; d elu = exp(x) = elu + 1 below zero, 1 above."""
        np.minimum(out, 0, out=out)
        out += 1
        out *= dy


class ScaledTanh(Activation):
    """1.7159 tanh(2x/3), which is close to 1 at 1 and to -1 at -1 (LeCun et al. 1998, appendix A)."""

    AMPLITUDE, SLOPE = 1.7159, 2 / 3

    def apply(self, x: np.ndarray, out: np.ndarray) -> None:
        """See Activation.apply."""
        np.multiply(x, self.SLOPE, out=out)
        self.arithmetic.tanh(out, out=out)
        out *= self.AMPLITUDE

    def differentiate(self, dy: np.ndarray, out: np.ndarray) -> None:
        """See Activation.differentiate; with y = A tanh(Sx), dy/dx = S (A - y^2 / A)."""
        np.multiply(out, out, out=out)
        out *= -self.SLOPE / self.AMPLITUDE
        out += self.SLOPE * self.AMPLITUDE
        out *= dy
