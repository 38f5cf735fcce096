"""Second derivatives, layer by layer, against the Gauss-Newton form by finite differences, in float64."""

import numpy as np
import pytest
from nn import reference

from distlenet.config import Config
from distlenet.errors import ConfigError
from distlenet.nn.activations import ReLU, ScaledTanh, Sigmoid, Tanh
from distlenet.nn.convolution import Conv2d
from distlenet.nn.dense import Dense, Flatten
from distlenet.nn.layer import Layer
from distlenet.nn.models import build_net
from distlenet.nn.net import Sequential
from distlenet.nn.partial_convolution import PartialConv2d
from distlenet.nn.pooling import AveragePool2d, MaxPool2d, Pad2d, TrainablePool2d

PICTURE, VECTOR = (3, 4, 6), (7,)
LAYERS = [
    (Dense(5), VECTOR),
    (ScaledTanh(), VECTOR),
    (Flatten(), PICTURE),
    (Pad2d(2, -0.1), PICTURE),
    (Conv2d(4, 3), PICTURE),
    (Conv2d(12, 3), PICTURE),
    (Conv2d(2, 3, "same"), PICTURE),
    (PartialConv2d([[0, 1], [2], [0, 1, 2]], 3), PICTURE),
    (AveragePool2d(2), PICTURE),
    (AveragePool2d(3, 1), PICTURE),
    (TrainablePool2d(2), PICTURE),
    (MaxPool2d(2), PICTURE),
    (ReLU(), PICTURE),
    (Tanh(), PICTURE),
    (Sigmoid(), PICTURE),
    (ScaledTanh(), PICTURE),
]


def squared_slopes(layer, x, array, d2y, epsilon=1e-6):
    """Return, for each element u of ``array``, the sum over the outputs y of d2y * (dy/du)^2."""
    found = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        value = array[place]
        array[place] = value + epsilon
        above = layer.forward(x).copy()
        array[place] = value - epsilon
        slope = (above - layer.forward(x)) / (2 * epsilon)
        array[place] = value
        found[place] = (d2y * slope**2).sum()
    return found


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: type(value).__name__)
def test_a_layer_squares_its_slopes(layer, shape):
    random = np.random.default_rng(0)
    reference.connect(layer, shape, random)
    x = reference.distinct(random, (*shape, 2))
    x = reference.laid_out(x, "rows first") if len(shape) == 3 else x
    d2y = random.uniform(0.5, 2, layer.forward(x).shape)
    layer.forward(x)
    d2x = layer.curvature(d2y).reshape(x.shape).copy()
    found = [parameter.gradient.copy() for parameter in layer.parameters]
    np.testing.assert_allclose(d2x, squared_slopes(layer, x, x, d2y), rtol=1e-6, atol=1e-8)
    for parameter, curvature in zip(layer.parameters, found, strict=True):
        expected = squared_slopes(layer, x, parameter.value, d2y)
        np.testing.assert_allclose(curvature, expected, rtol=1e-6, atol=1e-8)


def test_a_layer_without_second_derivatives_is_refused():
    class Odd(Layer):
        pass

    with pytest.raises(ConfigError, match="Odd has no second derivatives"):
        Odd().curvature(np.ones(3))


def test_a_network_with_such_a_layer_is_refused_before_it_trains():
    class Odd(Flatten):
        curvature = Layer.curvature

    build_net(Config(model="lenet5-1998"), (1, 28, 28), 10).require_curvature()
    with pytest.raises(ConfigError, match="the layer odd1? has no second derivatives.*give Odd a method curvature"):
        Sequential((1, 12, 12), Conv2d(3, 5), Odd(), Dense(3)).require_curvature()
    Sequential((1, 12, 12), Odd(), Dense(3)).require_curvature()  # not needed below the first layer with parameters


@pytest.mark.parametrize("model", ["lenet5", "lenet5-1998"])
def test_a_network_adds_up_its_samples_and_continues_training(model):
    net = build_net(Config(model=model), (1, 28, 28), 10).to(np.float64)
    net.initialize("fan-in", 3)
    random = np.random.default_rng(1)
    x, labels = random.uniform(-0.1, 1.175, (1, 28, 28, 4)), random.integers(0, 10, 4)
    before, after, whole, part = (np.full(net.size, np.nan) for _ in range(4))
    net.loss_and_grad(x, labels, before)
    theta = net.theta.copy()
    net.curvature(x, whole)
    assert (whole >= 0).all() and (whole > 0).mean() > 0.3  # ReLU: some units never fire
    total = np.zeros(net.size)
    for sample in range(4):
        net.curvature(x[..., sample : sample + 1], part)
        total += part
    np.testing.assert_allclose(whole, total, rtol=1e-10, atol=1e-13)
    net.loss_and_grad(x, labels, after)
    np.testing.assert_array_equal(after, before)  # no trace is left behind
    np.testing.assert_array_equal(net.theta, theta)
