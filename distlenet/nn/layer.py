"""What every layer is: a shape rule, parameters, a forward and a backward pass."""

from dataclasses import dataclass, field

import numpy as np

from distlenet.errors import ConfigError


@dataclass
class Parameter:
    """A weight or bias; ``value`` and ``gradient`` are views that the network sets.

    ``fan_in`` and ``fan_out`` count the inputs of one unit and the outputs one input reaches: what the
    initialisers scale by: numbers, or arrays that broadcast to ``shape`` where units differ. Weight decay
    applies to weights only. ``start``: the value that every element begins with, whatever the
    initialisation.
    """

    name: str  # "W" or "b"
    shape: tuple[int, ...]
    fan_in: int | np.ndarray
    fan_out: int | np.ndarray
    value: np.ndarray = field(default=None, repr=False)  # shape
    gradient: np.ndarray = field(default=None, repr=False)  # shape
    start: float | None = None

    @property
    def is_weight(self) -> bool:
        """True for weights, False for biases."""
        return self.name == "W"

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape))


class Layer:
    """One step of the network.

    ``connect`` is called once with the shape of one input sample and returns that of one output sample;
    afterwards ``forward`` and ``backward`` may be called with any number of samples (the last axis).
    ``backward`` takes the gradient of the loss with respect to the layer's output, stores those of its
    parameters in ``parameter.gradient``, and returns the one of its input (None if nobody needs it). It
    may overwrite what ``forward`` returned; it must not write to its argument, which may be a broadcast
    view or of a finer split, with the same elements in the same order.
    """

    parameters: tuple[Parameter, ...] = ()
    reads_output_in_backward = False  # then the next layer must not work in place on it
    elementwise = False  # the layout of its input passes through
    needs_input_gradient = True  # False for the first layer with parameters
    in_place = False  # the layer may write its output over its input
    window_after = (1, 1)  # window of the pooling that follows, (1, 1) if there is none
    name = ""
    output_shape: tuple[int, ...] = ()  # of one sample; the network notes it
    dtype: type = np.float32

    def __init__(self) -> None:
        self._scratch: dict[tuple, np.ndarray] = {}

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Fix the input ``shape`` of one sample, (C, H, W) or (features,); return the output shape.

        Raises ConfigError if the shape does not fit.
        """
        return shape

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the layer's output for ``x`` (..., samples)."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        """Return the gradient of the last ``forward``'s input, given that of its output."""
        raise NotImplementedError(f"{type(self).__name__}.backward")

    def curvature(self, d2y: np.ndarray) -> np.ndarray | None:
        """Carry second derivatives back, as ``backward`` does the first; once after a ``forward``, instead of it.

        ``d2y`` holds the second derivative of the loss with respect to each number of the layer's output;
        returns those of its input. Those of the parameters are stored in ``parameter.gradient``. All in
        the diagonal Gauss-Newton form: for an input or parameter u, the sum over the outputs y of
        d2y * (dy/du)^2.
        """
        raise ConfigError(f"{type(self).__name__} has no second derivatives: use another optimizer")

    def scratch(self, key: str, shape: tuple[int, ...], dtype: type | None = None) -> np.ndarray:
        """Return the layer's buffer of that name and shape, made of zeros at the first request."""
        buffer = self._scratch.get((key, shape))
        if buffer is None:
            buffer = self._scratch[key, shape] = np.zeros(shape, dtype or self.dtype)
        return buffer
