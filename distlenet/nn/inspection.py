"""Inspecting a network: its outline, figures of its layers' outputs, and gradient checks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from distlenet.nn.layer import Direction, Layer
from distlenet.nn.net import Net

TRIALS = 4  # random directions to try a layer in: a kink may affect one of them, a wrong gradient affects all


@dataclass(frozen=True)
class Row:
    """One layer of the outline."""

    name: str  # "C1"
    kind: str  # "Conv2d"
    shape: tuple[int, ...]  # of its output for one sample
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


def outputs(net: Net, x: np.ndarray) -> list[tuple[Layer, np.ndarray]]:
    """Return (layer, output) for every layer, given ``x`` (C, H, W, N): copies, (C, H, W, N) or (units, N)."""
    return [(layer, y.copy()) for layer, y in net.walk(x)]


def norms(net: Net, vector: np.ndarray) -> dict[str, float]:
    """Return the Euclidean norm of each parameter's part of ``vector`` (parameters,), by name."""
    parts = ((name, part.ravel()) for name, part in net.views(vector).items())
    return {name: float(np.dot(part, part)) ** 0.5 for name, part in parts}


# ---- figures of the layers' outputs


def figures(y: np.ndarray) -> dict[str, float]:
    """Return mean, standard deviation, largest magnitude and share of exact zeros of an output."""
    found = {"mean": y.mean(), "deviation": y.std(), "largest": abs(y).max(), "zeros": (y == 0).mean()}
    return {name: float(value) for name, value in found.items()}


def number(value: float) -> float | None:
    """Return ``value`` for JSON, which has no NaN or infinity: None for these."""
    return float(value) if np.isfinite(value) else None


def portray(net: Net, theta: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    """Return figures of all layers, for JSON: with the parameters ``theta``, on the images ``x`` (1, rows, columns, n).

    ``dead`` units (feature maps of a convolution, neurons of a dense layer) are zero for every image. ``spread`` is
    the median absolute deviation over the images of the network output for which it is largest. It is 0 if most images
    get the same answer, even if a few still excite a dying network.
    """
    layers, y = [], x
    with net.using(theta):
        for layer, y in net.walk(x):
            units = y.reshape(len(y), -1)
            found = {name: number(value) for name, value in figures(y).items()}
            counts = {"units": len(units), "dead": int((units == 0).all(axis=1).sum())}
            layers.append({"name": layer.name, **found, **counts, "saturated": number((abs(y) > 0.99).mean())})
    distances = abs(y - np.median(y, axis=-1, keepdims=True))
    weights = norms(net, theta.astype(np.float64))
    return {
        "layers": layers,
        "spread": number(np.median(distances, axis=-1).max()),
        "weight_norms": {name: number(norm) for name, norm in weights.items()},
    }


def first_non_finite(net: Net, x: np.ndarray, labels: np.ndarray) -> str | None:
    """Return the name of the first array with a number that is not finite, in the order of computation, or None.

    ``x`` is (C, H, W, N), ``labels`` (N,).
    """
    gradient = np.empty_like(net.theta)

    def numbers() -> Iterator[tuple[str, Any]]:
        yield from ((f"the parameter {name}", parameter.value) for name, parameter in net.parameters.items())
        yield "the input", x
        yield from ((f"the output of {layer.name}", y) for layer, y in net.walk(x))
        yield "the loss", net.loss_and_grad(x, labels, gradient)[0]
        # backward: the last layer comes first
        yield from ((f"the gradient of {name}", part) for name, part in reversed(net.views(gradient).items()))

    return next((name for name, found in numbers() if not np.isfinite(found).all()), None)


@dataclass(frozen=True)
class LayerStatistics:
    """Statistics of a layer's last call."""

    name: str
    output: dict[str, float]  # see ``figures``
    gradient_norm: float  # of its parameters' gradient, 0 without parameters
    weight_norm: float


class Watch:
    """Watches every call of a layer of ``net``.

    Raises FloatingPointError, naming the layer, at the first floating-point error. Keeps figures of the outputs.
    """

    def __init__(self, net: Net) -> None:
        self._net, self._run = net, net.run
        self._figures: dict[str, dict[str, float]] = {}
        net.run = self

    def __call__(self, layer: Layer, direction: Direction, value: np.ndarray) -> np.ndarray:
        """Run ``layer`` as the network would; see run_layer."""
        try:
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                result = self._run(layer, direction, value)
        except FloatingPointError as error:
            raise FloatingPointError(f"layer {layer.name}, {direction}: {error}") from error
        if not np.isfinite(result).all():
            raise FloatingPointError(f"layer {layer.name}, {direction}: NaN or infinity in the result")
        if direction == "forward":
            self._figures[layer.name] = figures(result)
        return result

    def statistics(self) -> list[LayerStatistics]:
        """Return the statistics of every layer's last call, in order."""
        return [
            LayerStatistics(
                layer.name,
                self._figures.get(layer.name) or dict.fromkeys(("mean", "deviation", "largest", "zeros"), 0.0),
                _norm([parameter.gradient for parameter in layer.parameters]),
                _norm([parameter.value for parameter in layer.parameters]),
            )
            for layer in self._net.layers
        ]


def _norm(arrays: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(float((array.astype(np.float64) ** 2).sum()) for array in arrays)))


# ---- the gradient against finite differences


@dataclass(frozen=True)
class ParameterCheck:
    """The difference between one parameter's gradient and finite differences."""

    name: str  # "C1/W"
    checked: int  # number of elements checked
    worst: float  # largest |backward - difference| / max(1, |backward|, |difference|)


def check_gradients(
    net: Net, x: np.ndarray, labels: np.ndarray, elements: int = 20, epsilon: float = 1e-6, seed: int = 0
) -> list[ParameterCheck]:
    """Compare the gradient of ``net`` (float64) with central differences.

    ``x`` is (C, H, W, N) or (features, N), ``labels`` (N,). Checks ``elements`` random elements of every
    parameter. A difference above 1e-6 means a wrong backward pass, unless an activation's kink is within
    ``epsilon``.
    """
    analytic = np.zeros_like(net.theta)
    net.loss_and_grad(x, labels, analytic)
    random = np.random.Generator(np.random.Philox(seed))
    checks = []
    for name, gradient in net.views(analytic).items():
        value, indices, worst = net.parameters[name].value, random.permutation(gradient.size)[:elements], 0.0
        for index in indices:
            before, losses = value.flat[index], []
            for sign in (1, -1):
                value.flat[index] = before + sign * epsilon
                losses.append(net.loss.loss_and_gradient(net.forward(x), labels)[0])
            value.flat[index] = before
            found, difference = gradient.flat[index], (losses[0] - losses[1]) / (2 * epsilon)
            worst = max(worst, abs(found - difference) / max(1.0, abs(found), abs(difference)))
        checks.append(ParameterCheck(name, len(indices), worst))
    return checks


@dataclass(frozen=True)
class LayerCheck:
    """The result of checking one layer alone."""

    name: str
    kind: str  # its class
    worst: float  # relative difference between its backward pass and finite differences, the best of TRIALS
    dtype: np.dtype  # of its output
    repeatable: bool  # whether the same input gives the same output


def check_layers(net: Net, x: np.ndarray, seed: int = 0) -> list[LayerCheck]:
    """Check every layer of ``net`` (float64) alone, on its input when the network gets ``x`` (C, H, W, N) or
    (features, N).

    The inputs are perturbed a little, to move equal pixels off a kink that they share.
    """
    random = np.random.Generator(np.random.Philox(seed))
    gradient = np.zeros_like(net.theta)
    net.write_gradients_to(gradient)
    y, checks = x, []
    for layer in net.layers:
        x, y = y, np.array(net.run(layer, "forward", y.copy()))
        repeatable = np.array_equal(y, net.run(layer, "forward", x.copy()), equal_nan=True)
        moved = x + 0.1 * x.std() * abs(random.standard_normal(x.shape))
        worst = min(_try(net, layer, moved, random) for _ in range(TRIALS))
        checks.append(LayerCheck(layer.name, type(layer).__name__, worst, y.dtype, repeatable))
    return checks


def _try(net: Net, layer: Layer, x: np.ndarray, random: np.random.Generator, epsilon: float = 1e-7) -> float:
    """Return the relative difference between the layer's derivative in a random direction and a finite difference."""
    weights = random.standard_normal(net.run(layer, "forward", x.copy()).shape)  # loss = sum of weights * output
    dx = net.run(layer, "backward", weights.copy())
    direction = random.standard_normal(x.shape) if dx.size else np.zeros(x.shape)
    parts = [dx.ravel() * direction.ravel()] if dx.size else []
    steps = [random.standard_normal(parameter.shape) for parameter in layer.parameters]
    parts += [(parameter.gradient * step).ravel() for parameter, step in zip(layer.parameters, steps, strict=True)]
    if not parts:
        return 0.0
    terms, sums = np.concatenate(parts), []
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
