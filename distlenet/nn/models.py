"""The named networks, each a list of layers, and networks from user code."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from distlenet.arithmetic import choose
from distlenet.config import Config
from distlenet.errors import ConfigError, DistlenetError, OwnCodeError, nearest
from distlenet.nn.activations import ELU, Activation, LeakyReLU, ReLU, ScaledTanh, Sigmoid, Tanh
from distlenet.nn.convolution import Conv2d
from distlenet.nn.dense import Dense, Flatten
from distlenet.nn.layer import Direction, Layer, run_layer
from distlenet.nn.losses import MAPLoss, SoftmaxCrossEntropy
from distlenet.nn.net import Net, Sequential
from distlenet.nn.partial_convolution import PartialConv2d
from distlenet.nn.pooling import AveragePool2d, MaxPool2d, Pad2d, Pool2d, TrainablePool2d
from distlenet.nn.rbf import RBF, digit_codes
from distlenet.own_code import load
from distlenet.paths import is_custom
from distlenet.trust import NOTHING, Trust

ACTIVATIONS: dict[str, type[Activation]] = {
    "relu": ReLU,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "leaky-relu": LeakyReLU,
    "elu": ELU,
    "scaled-tanh": ScaledTanh,
}
POOLINGS: dict[str, type[Pool2d]] = {"average": AveragePool2d, "max": MaxPool2d, "trainable": TrainablePool2d}
BACKGROUND, FOREGROUND = -0.1, 1.175  # pixel values, chosen so that the digits have mean 0 and variance 1, roughly
TABLE = [  # table I of the paper: the maps of S2 that each map of C3 sees
    *([0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [0, 4, 5], [0, 1, 5]),
    *([0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [0, 3, 4, 5], [0, 1, 4, 5], [0, 1, 2, 5]),
    *([0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5]),
    [0, 1, 2, 3, 4, 5],
]


Layers = Sequence[Layer | tuple[str, Layer]]
Choice = TypeVar("Choice")


def lenet5_layers(squash: type[Activation], pool: type[Pool2d]) -> Layers:
    """LeNet-5 as it is used today, with the layer names of LeCun et al. 1998.

    Unlike the published network, C3 sees all of S2's maps, subsampling has no parameters, and the output is softmax.
    """
    return [
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
    ]


def published_layers(squash: type[Activation], pool: type[Pool2d]) -> Layers:
    """LeNet-5 of LeCun, Bottou, Bengio and Haffner, Proc. IEEE 86(11), 1998: 60,000 trainable parameters.

    For pixels from BACKGROUND to FOREGROUND; 28x28 digits are centred in 32x32. Activation and pooling are always the
    published ones; the arguments are ignored.
    """
    return [
        ("input", Pad2d(2, BACKGROUND)),
        ("C1", Conv2d(6, 5)),
        ("C1.activation", ScaledTanh()),
        ("S2", TrainablePool2d(2, drawn=True)),
        ("S2.activation", ScaledTanh()),
        ("C3", PartialConv2d(TABLE, 5)),
        ("C3.activation", ScaledTanh()),
        ("S4", TrainablePool2d(2, drawn=True)),
        ("S4.activation", ScaledTanh()),
        ("flatten", Flatten()),
        ("C5", Dense(120)),
        ("C5.activation", ScaledTanh()),
        ("F6", Dense(84)),
        ("F6.activation", ScaledTanh()),
    ]


# LeNet-5 and the networks it is compared with, to measure the contributions of convolutions, pooling and depth. The
# output layer is added later.
MODELS: dict[str, Callable[[type[Activation], type[Pool2d]], Layers]] = {
    "lenet5": lenet5_layers,
    "lenet5-1998": published_layers,
    "lenet5-1998-softmax": published_layers,
    "feed-forward": lambda squash, pool: [Flatten(), Dense(128), squash()],
    "single-conv": lambda squash, pool: [Conv2d(6, 5), squash(), Flatten()],
    "single-conv-pool": lambda squash, pool: [Conv2d(6, 5), squash(), pool(2), Flatten()],
    "double-conv": lambda squash, pool: [Conv2d(6, 5), squash(), Conv2d(16, 5), squash(), Flatten()],
    "lenet5-deeper": lambda squash, pool: [
        *(Conv2d(6, 5, padding="same"), squash(), pool(2), Conv2d(16, 5), squash(), pool(2), Flatten()),
        *(Dense(120), squash(), Dense(84), squash(), Dense(84), squash()),
    ],
    "conv8-conv8": lambda squash, pool: [
        *(Conv2d(8, 3), squash(), Conv2d(8, 3), squash(), MaxPool2d(2), Flatten()),
        *(Dense(128), squash()),
    ],
}
# for models that do not use the dataset's own mean and standard deviation
PIXEL_RANGES = dict.fromkeys(("lenet5-1998", "lenet5-1998-softmax"), (BACKGROUND, FOREGROUND))


def input_statistics(model: str, mean: float, std: float) -> tuple[float, float]:
    """Return the mean and standard deviation by which pixels of 0 to 1 are normalised for ``model``.

    ``mean`` and ``std`` are the dataset's, which most models use.
    """
    if model not in PIXEL_RANGES:
        return mean, std
    low, high = PIXEL_RANGES[model]
    return -low / (high - low), 1 / (high - low)


def lenet5(
    input_shape: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    activation: str = "relu",
    pooling: str = "average",
    dtype: type = np.float32,
) -> Net:
    """LeNet-5 as it is used today: 61,706 parameters for 28x28 digits in ten classes."""
    config = Config(activation=activation, pooling=pooling)
    net = build_net(config, input_shape, classes)
    return net if dtype is np.float32 else net.to(dtype)


def build_net(config: Config, input_shape: tuple[int, int, int], classes: int, trust: Trust = NOTHING) -> Net:
    """Return the network of ``config`` for samples of ``input_shape`` (C, H, W).

    It computes as ``config.numerics`` says. ``config.model`` is a key of MODELS or user code (see ``own_code.py``).
    User code is run only if ``trust`` admits it, and chooses its own activations and pooling. Raises ConfigError,
    UntrustedCodeError.
    """
    if is_custom(config.model):
        net = build_custom(config.model, input_shape, classes, trust)
        if net.arithmetic is not choose(config.numerics):
            net.use(choose(config.numerics))
    else:
        net = build_known(config, input_shape, classes)
    if config.label_smoothing:
        net.loss.smoothing = config.label_smoothing
    return net


def build_known(config: Config, input_shape: tuple[int, int, int], classes: int) -> Net:
    """Return the network of ``config`` whose ``model`` is a key of MODELS: see ``build_net``."""
    make = _pick(MODELS, config.model, "model")
    output: Layer = Dense(classes)
    loss = SoftmaxCrossEntropy()
    if config.model in PIXEL_RANGES:
        layers = make(ScaledTanh, TrainablePool2d)
    else:
        layers = make(_pick(ACTIVATIONS, config.activation, "activation"), _pick(POOLINGS, config.pooling, "pooling"))
    if config.model == "lenet5-1998":
        codes = digit_codes()
        if classes != len(codes):
            text = f"lenet5-1998 has output codes for {len(codes)} classes, got {classes}: use --model lenet5"
            raise ConfigError(text)
        loss, output = MAPLoss(config.rubbish), RBF(codes)
    return Sequential(input_shape, *layers, ("output", output), loss=loss, arithmetic=choose(config.numerics))


def build_custom(model: str, input_shape: tuple[int, int, int], classes: int, trust: Trust) -> Net:
    """Return the network that the user's function ``model`` makes for samples of ``input_shape`` (C, H, W).

    The function is called with (input_shape, classes), for example ((1, 28, 28), 10), and returns a Net. Raises
    UntrustedCodeError if ``trust`` does not admit it. Raises ConfigError if it cannot be loaded, fails, or does not
    return a network for this input and number of classes.
    """
    build, source = load(model, trust, takes="input_shape, classes")
    try:
        net = build(input_shape, classes)
    except ConfigError as error:
        raise ConfigError(f"model {model}: {error}") from error
    except Exception as error:
        raise ConfigError(
            f"model {model} failed on ({input_shape}, {classes}): {type(error).__name__}: {error}"
        ) from error
    if not isinstance(net, Net):
        raise ConfigError(f"model {model} returned {type(net).__name__}, expected a Net, for example a Sequential")
    if tuple(net.input_shape) != tuple(input_shape) or net.output_shape != (classes,):
        raise ConfigError(
            f"model {model} is a network from {tuple(net.input_shape)} to {net.output_shape}, expected one from "
            f"{input_shape} to {(classes,)}: use the function's arguments input_shape and classes"
        )
    net.code_sha256, net.run = source.sha256, guarded_run(model)
    return net


def guarded_run(model: str) -> Callable[[Layer, Direction, np.ndarray], np.ndarray]:
    """Return run_layer for the user's network ``model``: any error of its layers becomes an OwnCodeError.

    FloatingPointError is passed through, because --debug handles it.
    """

    def run(layer: Layer, direction: Direction, value: np.ndarray) -> np.ndarray:
        try:
            return run_layer(layer, direction, value)
        except DistlenetError as error:
            raise type(error)(f"model {model}: {error}") from error
        except FloatingPointError:
            raise
        except Exception as error:
            # a gradient may have more axes than the output, with the same elements
            shape = value.shape if direction == "forward" else (*layer.output_shape, value.shape[-1])
            raise OwnCodeError(
                f"model {model}: layer {layer.name} ({type(layer).__name__}): {direction} of an array of shape {shape} "
                f"failed: {type(error).__name__}: {error}"
            ) from error

    return run


def _pick(choices: Mapping[str, Choice], name: str, kind: str) -> Choice:
    if name.endswith(".py"):
        raise ConfigError(f"{kind} {name}: name the function too, for example {name}:build")
    if name not in choices:
        raise ConfigError(f"{kind} {name!r} is unknown{nearest(name, choices)}: one of {', '.join(choices)}")
    return choices[name]
