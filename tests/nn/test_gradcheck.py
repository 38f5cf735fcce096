import numpy as np
import pytest

from distlenet.config import Config
from distlenet.nn.activations import Tanh
from distlenet.nn.dense import Dense, Flatten
from distlenet.nn.inspection import check_gradients, check_layers
from distlenet.nn.models import ACTIVATIONS, MODELS, POOLINGS, build_net, lenet5
from distlenet.nn.net import Net


class WrongWeights(Dense):
    """Gives one weight a gradient that is one percent too large."""

    def backward(self, dy):
        dx = super().backward(dy)
        self.parameters[0].gradient *= 1.01
        return dx


class ForgetfulTanh(Tanh):
    """Passes the gradient on as if it were the identity."""

    def backward(self, dy):
        return dy


class MeanBias(Dense):
    """Averages the bias's gradient over the samples where the sum is asked for."""

    def backward(self, dy):
        dx = super().backward(dy)
        self.parameters[1].gradient /= dy.shape[-1]
        return dx


def small(second=Dense, squash=Tanh):
    layers = [
        ("flatten", Flatten()),
        ("first", Dense(6)),
        ("squash", squash()),
        ("second", second(5)),
        ("last", Dense(3)),
    ]
    net = Net(layers, (1, 3, 3), np.float64)
    net.initialize("glorot", 1)
    return net


def digits(shape, classes, n=4):
    random = np.random.default_rng(0)
    return random.normal(size=(*shape, n)), random.integers(0, classes, n)


def wrong(net):
    checks = check_gradients(net, *digits((1, 3, 3), 3))
    assert [check.name for check in checks] == list(net.parameters)
    return [check.name for check in checks if check.worst > 1e-6]


@pytest.mark.parametrize("model", [name for name in MODELS if name != "lenet5-1998"])  # whose outputs are ten digits
def test_every_model_is_right(model):
    net = build_net(Config(model=model, activation="tanh", pooling="trainable"), (1, 20, 26), 7).to(np.float64)
    net.initialize("glorot", 2)
    checks = check_gradients(net, *digits((1, 20, 26), 7), elements=4)
    assert [check.name for check in checks if check.worst > 1e-6] == []


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_lenet5_is_right(activation, pooling):
    net = lenet5(activation=activation, pooling=pooling, dtype=np.float64)
    net.initialize("he", 2)
    before = net.theta.copy()
    checks = check_gradients(net, *digits((1, 28, 28), 10), elements=6)
    assert max(check.worst for check in checks) < 1e-6
    assert {check.checked for check in checks} == {6}
    assert len(checks) == (14 if pooling == "trainable" else 10)
    np.testing.assert_array_equal(net.theta, before)  # every element is put back


def test_small_parameters_are_checked_whole():
    checks = check_gradients(small(), *digits((1, 3, 3), 3), elements=10)
    assert [check.checked for check in checks] == [10, 6, 10, 5, 10, 3]


def test_a_right_net_passes_and_each_defect_is_named():
    assert wrong(small()) == []
    assert wrong(small(second=WrongWeights)) == ["second/W"]
    assert wrong(small(second=MeanBias)) == ["second/b"]
    assert wrong(small(squash=ForgetfulTanh)) == ["first/W", "first/b"]  # all that lies below it


def faulty(net):
    return [check.name for check in check_layers(net, digits((1, 3, 3), 3)[0]) if check.worst > 1e-6]


def test_the_layer_with_a_defect_is_named():
    assert faulty(small()) == []
    assert faulty(small(second=WrongWeights)) == ["second"]
    assert faulty(small(second=MeanBias)) == ["second"]
    assert faulty(small(squash=ForgetfulTanh)) == ["squash"]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_layer_alone_is_right_even_where_all_pixels_are_equal(activation, pooling):
    net = lenet5(activation=activation, pooling=pooling, dtype=np.float64)
    net.initialize("he", 2)
    before = net.theta.copy()
    checks = check_layers(net, np.full((1, 28, 28, 2), -0.4))
    assert max(check.worst for check in checks) < 1e-6
    assert all(check.repeatable and check.dtype == np.float64 for check in checks)
    np.testing.assert_array_equal(net.theta, before)
