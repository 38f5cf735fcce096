"""The base class of layers: a shape rule, parameters, a forward and a backward pass; and the function that runs one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from distlenet.arithmetic import NATIVE, Arithmetic
from distlenet.errors import ConfigError, OwnCodeError

Direction = Literal["forward", "backward", "curvature"]
NOTHING = np.empty(0)
LINE = 64  # bytes of a cache line, and of the widest registers


def zeros(shape: Sequence[int], dtype: type) -> np.ndarray:
    """Return np.zeros(shape, dtype) that starts at a cache line; wide loads from numpy's own arrays cross two lines."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory: np.ndarray = np.zeros(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype).reshape(shape)


@dataclass
class Parameter:
    """A weight or bias; ``value`` and ``gradient`` are views that the network sets.

    ``fan_in`` counts the inputs of one unit, ``fan_out`` the outputs that one input reaches. Initialisers scale by
    them. If units differ, they are arrays that broadcast to ``shape``. Weight decay applies to weights only. If
    ``start`` is given, every element starts with this value, whatever the initialisation.
    """

    name: str  # "W" for weights, which alone decay; "b" or any other name for the rest
    shape: tuple[int, ...]
    fan_in: int | np.ndarray
    fan_out: int | np.ndarray
    value: np.ndarray = field(default_factory=lambda: NOTHING, repr=False)  # shape
    gradient: np.ndarray = field(default_factory=lambda: NOTHING, repr=False)  # shape
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

    ``connect`` is called with the shape of one input sample and returns that of one output sample. After that,
    ``forward`` and ``backward`` may be called with any number of samples (the last axis). ``backward`` takes the
    gradient of the loss with respect to the layer's output, stores the gradients of its parameters in
    ``parameter.gradient``, and returns that of its input (None if it is not needed).

    Pictures are (C, H, W, N), vectors (features, N). A user-defined layer needs nothing else, and every array it gets
    is a contiguous copy that it may keep and overwrite. The built-in layers make two promises to be faster:

    ``shares_arrays``: nothing is copied. ``forward`` does not write to ``x``, unless ``in_place``, and ``backward``
    does not write to ``dy``. ``dy`` may be a read-only view of any strides, and have more axes: the same elements in
    the same order. ``backward`` may overwrite what ``forward`` returned.
    ``output_is_free``: ``backward`` neither reads nor writes what ``forward`` returned, nor any array that shares its
    memory: the next layer may work in place on it.

    A class outside this package that overrides ``forward``, ``backward`` or ``curvature`` (or an activation's ``apply``
    or ``differentiate``) loses both promises, unless it makes them again.
    """

    parameters: tuple[Parameter, ...] = ()
    shares_arrays = False
    output_is_free = False
    elementwise = False  # the output has the input's shape, and each element depends on one input element
    needs_input_gradient = True  # False for the first layer with parameters
    in_place = False  # the layer may write its output over its input
    name = ""
    output_shape: tuple[int, ...] = ()  # of one sample; set by the network
    dtype: type = np.float32
    arithmetic: Arithmetic = NATIVE  # whose products, sums and functions the layer uses; set by the network
    _shapes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())  # of the latest input, before any reshaping, and output

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        methods = [getattr(cls, name, None) for name in ("forward", "backward", "curvature", "apply", "differentiate")]
        package = __name__.partition(".")[0]
        if any(method and method.__module__.partition(".")[0] != package for method in methods):
            for promise in {"shares_arrays", "output_is_free"} - vars(cls).keys():
                setattr(cls, promise, False)

    def __init__(self) -> None:
        self._scratch: dict[tuple[str, tuple[int, ...], type], np.ndarray] = {}

    @property
    def product_dtype(self) -> type:
        """The type of products and their factors."""
        return self.arithmetic.product_dtype(self.dtype)

    def clear(self) -> None:
        """Forget all buffers."""
        self._scratch = {}

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Fix the input ``shape`` of one sample, (C, H, W) or (features,); return the output shape.

        Raises ConfigError if the shape does not fit.
        """
        return shape

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the layer's output for ``x`` (..., samples)."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        """Return the gradient of the latest ``forward``'s input, given ``dy``, that of its output."""
        raise NotImplementedError(f"{type(self).__name__}.backward")

    def curvature(self, d2y: np.ndarray) -> np.ndarray | None:
        """Propagate second derivatives back, as ``backward`` does first ones; called instead of it after ``forward``.

        ``d2y`` holds the second derivative of the loss with respect to each element of the layer's output. Returns
        those of its input, and stores those of the parameters in ``parameter.gradient``. All are in the diagonal
        Gauss-Newton form: for an input or parameter u, the sum over the outputs y of d2y * (dy/du)^2.
        """
        raise ConfigError(f"{type(self).__name__} has no second derivatives: use another optimizer")

    def scratch(self, key: str, shape: tuple[int, ...], dtype: type | None = None) -> np.ndarray:
        """Return the layer's buffer ``key`` of ``shape``, created with zeros at the first request.

        In memory the rows of a picture (C, H, W, N) come first, (H, C, W, N): see ``convolution.py``.
        """
        dtype = dtype or self.dtype
        buffer = self._scratch.get((key, shape, dtype))
        if buffer is None:
            first = (1, 0, 2, 3) if len(shape) == 4 else range(len(shape))
            buffer = zeros([shape[axis] for axis in first], dtype)
            self._scratch[key, shape, dtype] = buffer = buffer.swapaxes(0, 1) if len(shape) == 4 else buffer
        return buffer


def run_layer(layer: Layer, direction: Direction, value: np.ndarray) -> np.ndarray:
    """Return the result of ``layer``'s method ``direction`` for ``value``; empty for a gradient that is not needed.

    A layer without ``shares_arrays`` gets copies. Its parameters' gradients start at zero, and it may write to them,
    add to them or replace them. Raises OwnCodeError if it returns an array of an unexpected shape.
    """
    function: Callable[[np.ndarray], np.ndarray | None] = getattr(layer, direction)
    if layer.shares_arrays:
        found = function(value)
        return NOTHING if found is None else found
    if direction == "forward":
        layer._shapes = value.shape, (*layer.output_shape, value.shape[-1])
        return _expected(layer, direction, layer.forward(value.copy()), layer._shapes[1])
    came, left = layer._shapes
    views = [parameter.gradient for parameter in layer.parameters]
    for view in views:
        view[...] = 0
    dx = function(value.copy().reshape(left))
    for parameter, view in zip(layer.parameters, views, strict=True):
        if parameter.gradient is not view:
            view[...] = parameter.gradient
            parameter.gradient = view
    if not layer.needs_input_gradient:
        return NOTHING
    if dx is not None and dx.ndim > len(came) and dx.size == int(np.prod(came)):  # from a built-in base class
        dx = dx.reshape(came)
    return _expected(layer, direction, dx, came)


def _expected(layer: Layer, direction: Direction, array: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """Return ``array`` if it has ``shape``, otherwise raise OwnCodeError."""
    if array is None or array.shape != shape:
        found = "None" if array is None else f"one of shape {array.shape}"
        raise OwnCodeError(
            f"layer {layer.name} ({type(layer).__name__}): {direction} returned {found}, expected an array of shape "
            f"{shape}: the shape of one sample as in connect, then the number of samples"
        )
    return array
