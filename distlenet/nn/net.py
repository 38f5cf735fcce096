"""The network: layers in a row, one flat parameter vector, a loss."""

import copy
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod

import numpy as np

from distlenet.activity import advance
from distlenet.arithmetic import NATIVE, Arithmetic
from distlenet.errors import ConfigError
from distlenet.nn.initialization import initialize
from distlenet.nn.layer import Direction, Layer, Parameter, run_layer
from distlenet.nn.losses import SoftmaxCrossEntropy

CALLED = {"Conv2d": "conv", "AveragePool2d": "pool", "MaxPool2d": "pool", "TrainablePool2d": "pool"}


class Net:
    """Layers applied one after the other.

    ``layers`` are (name, layer) pairs; ``input_shape`` is (C, H, W) or (features,) of one sample. The
    parameters are views of ``theta`` (parameters,), in the order of the layers, weights before biases.
    Raises ConfigError naming the layer that does not fit its input.
    """

    code_sha256: str | None = None  # of the file that defines a user-defined network

    def __init__(
        self,
        layers: Sequence[tuple[str, Layer]],
        input_shape: tuple[int, ...],
        dtype: type = np.float32,
        loss: SoftmaxCrossEntropy | None = None,
        arithmetic: Arithmetic = NATIVE,
    ) -> None:
        self.input_shape, self.arithmetic = input_shape, arithmetic
        self.layers = [layer for _, layer in layers]
        self.loss = loss or SoftmaxCrossEntropy()
        self.loss.arithmetic = arithmetic
        # makes every call of a layer; --debug wraps it in a Watch
        self.run: Callable[[Layer, Direction, np.ndarray], np.ndarray] = run_layer
        shape = tuple(input_shape)
        previous = None
        for name, layer in layers:
            layer.clear()
            layer.name, layer.dtype, layer.arithmetic = name, dtype, arithmetic
            layer.in_place = previous is not None and previous.output_is_free
            try:
                shape = layer.connect(shape)
            except ConfigError as error:
                raise ConfigError(f"layer {name} ({type(layer).__name__}): {error}") from error
            if min(shape) < 1:
                raise ConfigError(f"layer {name} ({type(layer).__name__}) outputs nothing: samples of shape {shape}")
            layer.output_shape = shape
            previous = layer
        self.output_shape = shape
        self.parameters: dict[str, Parameter] = {}
        for layer in self.layers:
            for parameter in layer.parameters:
                name = f"{layer.name}/{parameter.name}"
                if self.parameters.setdefault(name, parameter) is not parameter:
                    raise ConfigError(f"two parameters are called {name}: give each a different name")
        ends = np.cumsum([0, *(parameter.size for parameter in self.parameters.values())]).tolist()
        self._slices = {name: slice(*ends[index : index + 2]) for index, name in enumerate(self.parameters)}
        self.size = ends[-1]
        if not self.size:
            raise ConfigError("the network has no layer with parameters: there is nothing to train")
        self.theta: np.ndarray = np.zeros(self.size, dtype)
        for parameter, value in zip(self.parameters.values(), self.views(self.theta).values(), strict=True):
            parameter.value = value
        self._first_trained = next(i for i, layer in enumerate(self.layers) if layer.parameters)
        self.layers[self._first_trained].needs_input_gradient = False

    def to(self, dtype: type) -> "Net":
        """Return a copy of the network, with its parameters, that computes in ``dtype``, natively."""
        net = copy.deepcopy(self)
        net._connect_again(dtype, NATIVE)
        net.theta[:] = self.theta
        return net

    def use(self, arithmetic: Arithmetic) -> None:
        """Compute with ``arithmetic`` from now on. Connects the layers again, with parameters that are zero.

        Raises ConfigError naming the layer that cannot.
        """
        run = self.run
        self._connect_again(self.theta.dtype.type, arithmetic)
        self.run = run

    def _connect_again(self, dtype: type, arithmetic: Arithmetic) -> None:
        layers = [(layer.name, layer) for layer in self.layers]
        Net.__init__(self, layers, self.input_shape, dtype, self.loss, arithmetic)

    def views(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """Return each parameter's part of ``vector`` (parameters,) by name, "C1/W": views in the parameter's shape."""
        return {name: vector[part].reshape(self.parameters[name].shape) for name, part in self._slices.items()}

    @contextmanager
    def using(self, theta: np.ndarray) -> Iterator[None]:
        """Use the parameters ``theta`` (parameters,) in the block; restore the network's own afterwards."""
        own = self.theta.copy()
        self.theta[:] = theta
        try:
            yield
        finally:
            self.theta[:] = own

    @property
    def decays(self) -> np.ndarray:
        """(parameters,): 1 where weight decay applies, 0 for biases."""
        decays = np.zeros_like(self.theta)
        for name, part in self.views(decays).items():
            part[...] = self.parameters[name].is_weight
        return decays

    @property
    def matrices(self) -> list[tuple[slice, tuple[int, int]]]:
        """Each matrix of weights: its part of ``theta``, and its shape (outputs, inputs), with kernels as rows."""
        weights = [(name, item.shape) for name, item in self.parameters.items() if item.is_weight]
        shapes = {name: (shape[0], prod(shape[1:])) for name, shape in weights}
        return [(self._slices[name], shape) for name, shape in shapes.items() if min(shape) > 1]

    def initialize(self, method: str, seed: int, sigma: float = 0.1) -> None:
        """Draw the initial parameters; see ``initialization.py`` for the methods."""
        for position, parameter in enumerate(self.parameters.values()):
            initialize(parameter, method, seed, position, sigma, self.arithmetic)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the logits (classes, N) of ``x`` (C, H, W, N) or (features, N)."""
        return deque(self.walk(x), maxlen=1)[0][1]

    def walk(self, x: np.ndarray) -> Iterator[tuple[Layer, np.ndarray]]:
        """Yield every layer, in order, with its output for ``x`` (C, H, W, N) or (features, N).

        Layers may overwrite their input: an output is valid until the next layer runs.
        """
        for layer in self.layers:
            x = self.run(layer, "forward", x)
            advance()
            yield layer, x

    def loss_and_grad(self, x: np.ndarray, labels: np.ndarray, gradient: np.ndarray) -> tuple[float, int]:
        """Write the gradient of the summed loss to ``gradient`` (parameters,).

        ``x`` is (C, H, W, N), ``labels`` (N,) integers. Returns the loss summed over the samples and the
        number of samples whose largest logit is their label's.
        """
        self.write_gradients_to(gradient)
        logits = self.forward(x)
        correct = int(np.count_nonzero(logits.argmax(axis=0) == labels))
        loss, dlogits = self.loss.loss_and_gradient(logits, labels)
        self.backward(dlogits)
        return loss, correct

    def curvature(self, x: np.ndarray, curvature: np.ndarray) -> None:
        """Write each parameter's second derivative of the summed loss to ``curvature`` (parameters,).

        This is the diagonal of the Gauss-Newton approximation, with each layer's matrix taken to be diagonal
        (LeCun et al. 1998, appendix C). It is never negative and costs as much as a gradient. ``x`` is
        (C, H, W, N).
        """
        self.write_gradients_to(curvature)
        self.backward(self.loss.curvature(self.forward(x)), "curvature")

    def backward(self, derivative: np.ndarray, direction: Direction = "backward") -> None:
        """Propagate the logits' ``derivative`` (classes, N) back; each layer writes its parameters' gradients."""
        for layer in reversed(self.layers[self._first_trained :]):
            derivative = self.run(layer, direction, derivative)
            advance()

    def require_curvature(self) -> None:
        """Raise ConfigError if ``curvature`` would fail because a layer has no second derivatives."""
        for layer in self.layers[self._first_trained :]:
            if type(layer).curvature is Layer.curvature:
                raise ConfigError(
                    f"the layer {layer.name} has no second derivatives, which --optimizer levenberg-marquardt needs: "
                    f"give {type(layer).__name__} a method curvature, or choose another optimizer"
                )

    def write_gradients_to(self, vector: np.ndarray) -> None:
        """Make the layers write their gradients to ``vector`` (parameters,)."""
        for name, parameter in self.parameters.items():
            parameter.gradient = vector[self._slices[name]].reshape(parameter.shape)


class Sequential(Net):
    """A network from a bare list of ``layers`` for samples of ``input_shape``, (C, H, W) or (features,).

        Sequential(input_shape, Conv2d(8, 3), ReLU(), MaxPool2d(2), Flatten(), Dense(64), ReLU(), Dense(classes))

    Layers are named by type and number: conv1, relu1, pool1, conv2, ...; a (name, layer) pair sets the name.
    Raises ConfigError if an item is not a layer, occurs twice, or does not fit.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *layers: Layer | tuple[str, Layer],
        dtype: type = np.float32,
        loss: SoftmaxCrossEntropy | None = None,
        arithmetic: Arithmetic = NATIVE,
    ) -> None:
        super().__init__(named(layers), input_shape, dtype, loss, arithmetic)


def named(layers: tuple[Layer | tuple[str, Layer], ...]) -> list[tuple[str, Layer]]:
    """Return (name, layer) pairs for ``layers``; raises ConfigError if a name or a layer occurs twice."""
    pairs: list[tuple[str, Layer]] = []
    counts: Counter[str] = Counter()
    for number, item in enumerate(layers, 1):
        name, layer = item if isinstance(item, tuple) and len(item) == 2 else (None, item)
        if not isinstance(layer, Layer):
            hint = ": make one by adding ()" if isinstance(layer, type) and issubclass(layer, Layer) else ""
            raise ConfigError(f"layer {number} is {layer!r}, expected a Layer{hint}")
        if any(layer is other for _, other in pairs):
            raise ConfigError(f"layer {number} ({type(layer).__name__}) is in the network twice: create another one")
        if name is None:
            kind = type(layer).__name__
            kind = CALLED.get(kind, kind.lower())
            counts[kind] += 1
            name = f"{kind}{counts[kind]}"
        if any(name == other for other, _ in pairs):
            raise ConfigError(f"layer {number} is called {name!r} like another one: give it a different name")
        pairs.append((name, layer))
    return pairs
