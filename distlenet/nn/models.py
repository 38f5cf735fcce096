"""The networks known by name."""

from collections.abc import Callable

import numpy as np

from distlenet.errors import ConfigError, nearest
from distlenet.nn.activations import ELU, Activation, LeakyReLU, ReLU, ScaledTanh, Sigmoid, Tanh
from distlenet.nn.convolution import Conv2d
from distlenet.nn.custom import build_custom
from distlenet.nn.dense import Dense, Flatten
from distlenet.nn.layer import Layer
from distlenet.nn.lenet5_1998 import BACKGROUND, FOREGROUND, lenet5_1998, lenet5_1998_softmax
from distlenet.nn.net import Net, precision
from distlenet.nn.pooling import AveragePool2d, MaxPool2d, Pool2d, TrainablePool2d
from distlenet.nn.rbf import MAPLoss
from distlenet.nn.sequential import Sequential
from distlenet.nn.source import is_custom
from distlenet.nn.trust import NOTHING, Trust

ACTIVATIONS: dict[str, type[Activation]] = {
    "relu": ReLU,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "leaky-relu": LeakyReLU,
    "elu": ELU,
    "scaled-tanh": ScaledTanh,
}
POOLINGS: dict[str, type[Pool2d]] = {"average": AveragePool2d, "max": MaxPool2d, "trainable": TrainablePool2d}


def lenet5(
    input_shape: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    activation: str = "relu",
    pooling: str = "average",
    dtype: type = np.float32,
) -> Net:
    """LeNet-5 as it is used today: 61,706 parameters for 28x28 digits in ten classes.

    The layer names are those of LeCun et al. 1998; unlike there C3 sees all of S2's maps, subsampling
    has no parameters, and the output is softmax.
    """
    squash, pool = _pick(ACTIVATIONS, activation, "activation"), _pick(POOLINGS, pooling, "pooling")
    return Net(
        [
            ("C1", Conv2d(6, 5, padding="same")),
            ("C1.activation", squash()),
            ("S2", pool(2)),
            ("C3", Conv2d(16, 5)),
            ("C3.activation", squash()),
            ("S4", pool(2)),
            ("flatten", Flatten()),
            ("C5", Dense(120)),
            ("C5.activation", squash()),
            ("F6", Dense(84)),
            ("F6.activation", squash()),
            ("output", Dense(classes)),
        ],
        input_shape,
        dtype,
    )


def in_a_row(middle: Callable[[type[Activation], type[Pool2d]], list[Layer]]) -> Callable[..., Net]:
    """Return a function like ``lenet5`` that makes the layers ``middle(activation, pooling)`` and an output layer."""

    def build(
        input_shape: tuple[int, int, int] = (1, 28, 28),
        classes: int = 10,
        activation: str = "relu",
        pooling: str = "average",
        dtype: type = np.float32,
    ) -> Net:
        squash, pool = _pick(ACTIVATIONS, activation, "activation"), _pick(POOLINGS, pooling, "pooling")
        return Sequential(input_shape, *middle(squash, pool), ("output", Dense(classes)), dtype=dtype)

    return build


# LeNet-5 and what it is measured against: what do convolutions, pooling and depth bring?
MODELS: dict[str, Callable[..., Net]] = {
    "lenet5": lenet5,
    "lenet5-1998": lenet5_1998,
    "lenet5-1998-softmax": lenet5_1998_softmax,
    "feed-forward": in_a_row(lambda squash, pool: [Flatten(), Dense(128), squash()]),
    "single-conv": in_a_row(lambda squash, pool: [Conv2d(6, 5), squash(), Flatten()]),
    "single-conv-pool": in_a_row(lambda squash, pool: [Conv2d(6, 5), squash(), pool(2), Flatten()]),
    "double-conv": in_a_row(lambda squash, pool: [Conv2d(6, 5), squash(), Conv2d(16, 5), squash(), Flatten()]),
    "lenet5-deeper": in_a_row(
        lambda squash, pool: [
            *(Conv2d(6, 5, padding="same"), squash(), pool(2), Conv2d(16, 5), squash(), pool(2), Flatten()),
            *(Dense(120), squash(), Dense(84), squash(), Dense(84), squash()),
        ]
    ),
    "conv8-conv8": in_a_row(
        lambda squash, pool: [
            *(Conv2d(8, 3), squash(), Conv2d(8, 3), squash(), MaxPool2d(2), Flatten()),
            *(Dense(128), squash()),
        ]
    ),
}
# of models that do not take the dataset's own mean and deviation
PIXEL_RANGES = dict.fromkeys(("lenet5-1998", "lenet5-1998-softmax"), (BACKGROUND, FOREGROUND))


def input_statistics(model: str, mean: float, std: float) -> tuple[float, float]:
    """Return the mean and deviation by which pixels of 0 to 1 are normalised for ``model``.

    ``mean`` and ``std`` are the dataset's own, which most models use.
    """
    if model not in PIXEL_RANGES:
        return mean, std
    low, high = PIXEL_RANGES[model]
    return -low / (high - low), 1 / (high - low)


def build_model(
    name: str,
    input_shape: tuple[int, int, int],
    classes: int,
    activation: str,
    pooling: str,
    dtype: type | None = None,
    rubbish: float = 10.0,
    trust: Trust = NOTHING,
) -> Net:
    """Return the network called ``name`` for samples of ``input_shape`` (C, H, W).

    ``name`` is a key of MODELS, or code of the user's own (see ``custom.py``), which is run only if ``trust`` admits
    it, and chooses its activations and pooling itself, and its type unless ``dtype`` is given. ``rubbish`` is the
    constant j of a MAPLoss. Raises ConfigError, UntrustedCodeError.
    """
    if is_custom(name):
        with precision(dtype):
            return build_custom(name, input_shape, classes, trust)
    net = _pick(MODELS, name, "model")(input_shape, classes, activation, pooling, dtype or np.float32)
    if isinstance(net.loss, MAPLoss):
        net.loss.j = rubbish
    return net


def _pick(choices: dict, name: str, kind: str) -> Callable:
    if name.endswith(".py"):
        raise ConfigError(f"{kind} {name}: name the function too, for example {name}:build")
    if name not in choices:
        raise ConfigError(f"{kind} {name!r} is unknown{nearest(name, choices)}: one of {', '.join(choices)}")
    return choices[name]
