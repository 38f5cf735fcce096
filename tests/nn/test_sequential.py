import numpy as np
import pytest

from distlenet.errors import ConfigError
from distlenet.nn import Conv2d, Dense, Flatten, MaxPool2d, Net, ReLU, Sequential, outline


def layers(classes=3):
    return Conv2d(4, 3), ReLU(), MaxPool2d(2), Conv2d(5, 3), ReLU(), Flatten(), ("last", Dense(classes))


def test_layers_are_named_by_what_they_are():
    net = Sequential((1, 12, 10), *layers())
    rows = [(row.name, row.kind, row.shape, row.parameters) for row in outline(net)]
    assert rows == [
        ("conv1", "Conv2d", (4, 10, 8), 40),
        ("relu1", "ReLU", (4, 10, 8), 0),
        ("pool1", "MaxPool2d", (4, 5, 4), 0),
        ("conv2", "Conv2d", (5, 3, 2), 185),
        ("relu2", "ReLU", (5, 3, 2), 0),
        ("flatten1", "Flatten", (30,), 0),
        ("last", "Dense", (3,), 93),
    ]
    assert list(net.parameters) == ["conv1/W", "conv1/b", "conv2/W", "conv2/b", "last/W", "last/b"]


def test_is_the_net_of_the_same_layers():
    names = ["conv1", "relu1", "pool1", "conv2", "relu2", "flatten1", "last"]
    plain = [item[1] if isinstance(item, tuple) else item for item in layers()]
    nets = [
        Sequential((1, 12, 10), *layers(), dtype=np.float64),
        Net(list(zip(names, plain, strict=True)), (1, 12, 10), np.float64),
    ]
    x, labels, gradients = np.random.default_rng(0).normal(size=(1, 12, 10, 4)), np.arange(4) % 3, []
    for net in nets:
        net.initialize("he", 1)
        gradients.append(np.zeros(net.size))
        net.loss_and_grad(x, labels, gradients[-1])
    np.testing.assert_array_equal(*gradients)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: [Flatten(), Dense(3), ReLU(), Conv2d(2, 3)], r"layer conv1 .Conv2d.: .*needs pictures .C, H, W."),
        (lambda: [Conv2d(4, 3), Dense(3)], r"layer dense1 .Dense.: .*put a Flatten before it"),
        (lambda: [MaxPool2d(2), Conv2d(4, 5)], r"layer conv1 .Conv2d.: a 5x5 convolution does not fit into 4x4"),
        (lambda: [Conv2d(4, 3), ReLU], r"layer 2 is <class .*ReLU.>, expected a Layer: make one by adding \(\)"),
        (lambda: [Conv2d(4, 3), "relu"], r"layer 2 is 'relu', expected a Layer$"),
        (lambda: [[ReLU()] * 2], r"layer 1 is \[.*, expected a Layer$"),
        (lambda: [ReLU(), ("relu1", ReLU())], r"layer 2 is called 'relu1' like another one"),
        (lambda: [Flatten(), *[ReLU()] * 2], r"layer 3 .ReLU. stands in the network twice"),
        (lambda: [Flatten(), ReLU()], "nothing to train"),
    ],
)
def test_what_cannot_be_is_one_sentence(build, says):
    with pytest.raises(ConfigError, match=says):
        Sequential((1, 8, 8), *build())
