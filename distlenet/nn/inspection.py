"""A look into a network: its outline, what its layers output, watching it at work, and its gradient checked."""

from dataclasses import dataclass

import numpy as np

from distlenet.nn.layer import Layer
from distlenet.nn.net import Net
from distlenet.nn.split import plain, to_plain

TRIALS = 4  # directions in which a layer is tried: a kink lies in one of them now and then, a wrong gradient in all


@dataclass(frozen=True)
class Row:
    """One layer of the outline."""

    name: str  # "C1"
    kind: str  # "Conv2d"
    shape: tuple[int, ...]  # of one sample of its output
    parameters: int


def outline(net: Net) -> list[Row]:
    """Return a row for each layer of ``net``, in order."""
    return [
        Row(
            layer.name,
            type(layer).__name__,
            layer.output_shape,
            sum(parameter.size for parameter in layer.parameters),
        )
        for layer in net.layers
    ]


def list_layers(net: Net) -> list[str]:
    """Return a line for each layer, "C1: Conv2d to 6 x 28 x 28, 156 parameters"."""
    return [
        f"{row.name}: {row.kind} to {' x '.join(map(str, row.shape))}, {row.parameters} parameters"
        for row in outline(net)
    ]


def outputs(net: Net, x: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return (name, output) of every layer for ``x`` (C, H, W, N): copies, (C, H, W, N) or (units, N)."""
    return [(layer.name, to_plain(y) if y.ndim == 6 else y.copy()) for layer, y in net.walk(x)]


@dataclass(frozen=True)
class LayerStatistics:
    """What went through a layer in its last call."""

    name: str
    mean: float  # of the output
    deviation: float
    largest: float  # absolute
    zeros: float  # share of exact zeros, 0 to 1
    gradient_norm: float  # of the parameters' gradient, 0 without parameters
    weight_norm: float


class WatchedLayer:
    """A layer that raises at the first floating-point error and remembers statistics of its output."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self.output = (0.0, 0.0, 0.0, 0.0)

    def __getattr__(self, name: str) -> object:
        return getattr(self._layer, name)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """See Layer.forward; raises FloatingPointError naming the layer."""
        y = self._guarded("forward", self._layer.forward, x)
        self.output = float(y.mean()), float(y.std()), float(abs(y).max()), float((y == 0).mean())
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        """See Layer.backward; raises FloatingPointError naming the layer."""
        return self._guarded("backward", self._layer.backward, dy)

    def _guarded(self, direction: str, function: object, argument: np.ndarray) -> np.ndarray | None:
        try:
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                result = function(argument)
        except FloatingPointError as error:
            raise FloatingPointError(f"layer {self._layer.name}, {direction}: {error}") from error
        if result is not None and not np.isfinite(result).all():
            raise FloatingPointError(f"layer {self._layer.name}, {direction}: NaN or infinity in the result")
        return result

    def statistics(self) -> LayerStatistics:
        """Return the statistics of the last call."""
        gradients = [p.gradient for p in self._layer.parameters if p.gradient is not None]
        return LayerStatistics(
            self._layer.name,
            *self.output,
            gradient_norm=_norm(gradients),
            weight_norm=_norm([parameter.value for parameter in self._layer.parameters]),
        )


def _norm(arrays: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(float((array.astype(np.float64) ** 2).sum()) for array in arrays)))


def watch(net: Net) -> list[WatchedLayer]:
    """Put a watch on every layer of ``net``; return the watched layers, in order."""
    watched = [WatchedLayer(layer) for layer in net.layers]
    net.layers[:] = watched
    return watched


# ---- the gradient against finite differences


@dataclass(frozen=True)
class ParameterCheck:
    """How far one parameter's gradient is from finite differences."""

    name: str  # "C1/W"
    checked: int  # elements looked at
    worst: float  # largest |backward - difference| / max(1, |backward|, |difference|)


def check_gradients(
    net: Net, x: np.ndarray, labels: np.ndarray, elements: int = 20, epsilon: float = 1e-6, seed: int = 0
) -> list[ParameterCheck]:
    """Compare the gradient of ``net`` (float64) with central differences.

    ``x`` is (C, H, W, N) or (features, N), ``labels`` (N,). Looks at ``elements`` random elements of every
    parameter; a difference above 1e-6 means a wrong backward pass, unless an activation's kink lies
    within ``epsilon``.
    """
    analytic = np.zeros_like(net.theta)
    net.loss_and_grad(x, labels, analytic)
    random = np.random.Generator(np.random.Philox(seed))
    checks, start = [], 0
    for name, parameter in net.parameters.items():
        places = start + random.permutation(parameter.size)[:elements]
        worst = 0.0
        for place in places:
            value = net.theta[place]
            net.theta[place] = value + epsilon
            above = net.loss.losses(net.forward(x), labels).sum()
            net.theta[place] = value - epsilon
            below = net.loss.losses(net.forward(x), labels).sum()
            net.theta[place] = value
            difference = (above - below) / (2 * epsilon)
            scale = max(1.0, abs(analytic[place]), abs(difference))
            worst = max(worst, abs(analytic[place] - difference) / scale)
        checks.append(ParameterCheck(name, len(places), worst))
        start += parameter.size
    return checks


@dataclass(frozen=True)
class LayerCheck:
    """What a layer does when it is tried alone."""

    name: str
    kind: str  # its class
    worst: float  # relative difference between its backward pass and finite differences, in the best of TRIALS
    dtype: np.dtype  # of its output
    repeatable: bool  # the same input gives the same output


def check_layers(net: Net, x: np.ndarray, seed: int = 0) -> list[LayerCheck]:
    """Try every layer of ``net`` (float64) alone, on what reaches it from ``x`` (C, H, W, N) or (features, N).

    The inputs are moved a little, away from the kinks that equal pixels share.
    """
    random = np.random.Generator(np.random.Philox(seed))
    gradient = np.zeros_like(net.theta)
    net.write_gradients_to(gradient)
    y, checks = plain(x) if len(net.input_shape) == 3 else x, []
    for layer in net.layers:
        x, y = y, np.array(net.run(layer, "forward", y.copy()))
        repeatable = np.array_equal(y, net.run(layer, "forward", x.copy()), equal_nan=True)
        moved = x + 0.1 * x.std() * abs(random.standard_normal(x.shape))
        worst = min(_try(net, layer, moved, random) for _ in range(TRIALS))
        checks.append(LayerCheck(layer.name, type(layer).__name__, worst, y.dtype, repeatable))
    return checks


def _try(net: Net, layer: Layer, x: np.ndarray, random: np.random.Generator, epsilon: float = 1e-7) -> float:
    """Return how far the layer's derivative in one random direction, at ``x``, is from a finite difference."""
    weights = random.standard_normal(net.run(layer, "forward", x.copy()).shape)  # the loss is their sum with the output
    dx = net.run(layer, "backward", weights.copy())
    direction = random.standard_normal(x.shape) if dx is not None else np.zeros(x.shape)
    terms = [] if dx is None else [np.array(dx).ravel() * direction.ravel()]
    steps = [random.standard_normal(parameter.shape) for parameter in layer.parameters]
    terms += [(parameter.gradient * step).ravel() for parameter, step in zip(layer.parameters, steps, strict=True)]
    if not terms:
        return 0.0
    terms, sums = np.concatenate(terms), []
    values = [parameter.value.copy() for parameter in layer.parameters]
    for sign in (1, -1):
        for parameter, value, step in zip(layer.parameters, values, steps, strict=True):
            parameter.value[...] = value + sign * epsilon * step
        sums.append((net.run(layer, "forward", x + sign * epsilon * direction) * weights).sum())
    for parameter, value in zip(layer.parameters, values, strict=True):
        parameter.value[...] = value
    difference = (sums[0] - sums[1]) / (2 * epsilon)
    scale = max(abs(difference), float(np.linalg.norm(terms)), 1e-12)
    return abs(float(terms.sum()) - difference) / scale
