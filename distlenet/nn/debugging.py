"""Watching a network at work: every layer's numbers are checked and summarised as they appear."""

from dataclasses import dataclass

import numpy as np

from distlenet.nn.layer import Layer
from distlenet.nn.net import Net


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
