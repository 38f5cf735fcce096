"""LeNet-5 as published by LeCun, Bottou, Bengio and Haffner in Proc. IEEE 86(11), 1998."""

import numpy as np

from distlenet.errors import ConfigError
from distlenet.nn.activations import ScaledTanh
from distlenet.nn.convolution import Conv2d
from distlenet.nn.dense import Dense, Flatten
from distlenet.nn.digit_codes import digit_codes
from distlenet.nn.layer import Layer
from distlenet.nn.net import Net
from distlenet.nn.padding import Pad2d
from distlenet.nn.partial_convolution import PartialConv2d
from distlenet.nn.pooling import TrainablePool2d
from distlenet.nn.rbf import RBF, MAPLoss

BACKGROUND, FOREGROUND = -0.1, 1.175  # pixel values: over the digits their mean is about 0, their variance 1
TABLE = [  # I of the paper: the maps of S2 that each map of C3 sees
    *([0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [0, 4, 5], [0, 1, 5]),
    *([0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [0, 3, 4, 5], [0, 1, 4, 5], [0, 1, 2, 5]),
    *([0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5]),
    [0, 1, 2, 3, 4, 5],
]


def lenet5_1998(
    input_shape: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    activation: str = "",
    pooling: str = "",
    dtype: type = np.float32,
) -> Net:
    """LeNet-5 with its 60,000 trainable parameters, RBF outputs and MAP loss.

    Expects pixels from BACKGROUND to FOREGROUND; 28x28 digits are centred in 32x32. Activation and pooling
    are the published ones, whatever is asked for. Raises ConfigError unless there are ten classes.
    """
    codes = digit_codes()
    if classes != len(codes):
        raise ConfigError(f"lenet5-1998 has output codes for {len(codes)} classes, got {classes}: use --model lenet5")
    return Net([*body(), ("output", RBF(codes))], input_shape, dtype, MAPLoss())


def lenet5_1998_softmax(
    input_shape: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    activation: str = "",
    pooling: str = "",
    dtype: type = np.float32,
) -> Net:
    """The same body with the output of today, to compare the two: a dense layer, softmax and cross-entropy."""
    return Net([*body(), ("output", Dense(classes))], input_shape, dtype)


def body() -> list[tuple[str, Layer]]:
    """Return the layers up to F6, for pixels from BACKGROUND to FOREGROUND."""
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
