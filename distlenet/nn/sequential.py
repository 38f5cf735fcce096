"""A network from a bare list of layers, named by what they are.

    Sequential(input_shape, Conv2d(8, 3), ReLU(), MaxPool2d(2), Flatten(), Dense(64), ReLU(), Dense(classes))

Shapes are passed on from layer to layer; a layer that does not fit is named in the error.
"""

from collections import Counter

import numpy as np

from distlenet.errors import ConfigError
from distlenet.nn.layer import Layer
from distlenet.nn.net import Net

CALLED = {"Conv2d": "conv", "AveragePool2d": "pool", "MaxPool2d": "pool", "TrainablePool2d": "pool"}


class Sequential(Net):
    """``layers`` in a row for samples of ``input_shape``, (C, H, W) or (features,).

    Each gets a name and a number: conv1, relu1, pool1, conv2, ...; a (name, layer) pair chooses its own.
    Raises ConfigError if a layer does not fit, stands there twice, or is no layer.
    """

    def __init__(
        self, input_shape: tuple[int, ...], *layers: Layer | tuple[str, Layer], dtype: type = np.float32
    ) -> None:
        super().__init__(named(layers), input_shape, dtype)


def named(layers: tuple[Layer | tuple[str, Layer], ...]) -> list[tuple[str, Layer]]:
    """Return (name, layer) pairs for ``layers``, each name and each layer once."""
    pairs: list[tuple[str, Layer]] = []
    counts: Counter[str] = Counter()
    for place, item in enumerate(layers, 1):
        name, layer = item if isinstance(item, tuple) and len(item) == 2 else (None, item)
        if not isinstance(layer, Layer):
            hint = ": make one by adding ()" if isinstance(layer, type) and issubclass(layer, Layer) else ""
            raise ConfigError(f"layer {place} is {layer!r}, expected a Layer{hint}")
        if any(layer is other for _, other in pairs):
            raise ConfigError(f"layer {place} ({type(layer).__name__}) stands in the network twice: make another one")
        if name is None:
            kind = type(layer).__name__
            kind = CALLED.get(kind, kind.lower())
            counts[kind] += 1
            name = f"{kind}{counts[kind]}"
        if any(name == other for other, _ in pairs):
            raise ConfigError(f"layer {place} is called {name!r} like another one: give it a name of its own")
        pairs.append((name, layer))
    return pairs
