import numpy as np
import pytest

from distlenet.config import Config
from distlenet.nn.activations import Tanh
from distlenet.nn.dense import Dense, Flatten
from distlenet.nn.inspection import Watch, check_gradients, check_layers
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
    """Averages the bias's gradient over the samples instead of adding it up."""

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


@pytest.mark.parametrize("model", [name for name in MODELS if name != "lenet5-1998"])  # its outputs are ten digits
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
    np.testing.assert_array_equal(net.theta, before)  # every element is restored


def test_small_parameters_are_checked_whole():
    checks = check_gradients(small(), *digits((1, 3, 3), 3), elements=10)
    assert [check.checked for check in checks] == [10, 6, 10, 5, 10, 3]


def test_a_right_net_passes_and_each_defect_is_named():
    assert wrong(small()) == []
    assert wrong(small(second=WrongWeights)) == ["second/W"]
    assert wrong(small(second=MeanBias)) == ["second/b"]
    assert wrong(small(squash=ForgetfulTanh)) == ["first/W", "first/b"]  # all parameters below it


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


def net_and_digits(n=8, **choices):
    net = lenet5(**choices)
    net.initialize("he", 1)
    random = np.random.default_rng(0)
    return net, random.normal(size=(1, 28, 28, n)).astype(np.float32), random.integers(0, 10, n)


def test_watching_changes_no_bit():
    net, x, labels = net_and_digits()
    expected, found = np.zeros((2, net.size), np.float32)
    plain = net.loss_and_grad(x, labels, expected)
    Watch(net)
    assert net.loss_and_grad(x, labels, found) == plain
    np.testing.assert_array_equal(found, expected)


def test_statistics_are_those_of_every_layer():
    net, x, labels = net_and_digits()
    outputs = {}
    for layer, y in net.walk(x):
        outputs[layer.name] = y.astype(np.float64)  # a copy: the next layer may work in place
    watch = Watch(net)
    gradient = np.zeros(net.size, np.float32)
    net.loss_and_grad(x, labels, gradient)
    assert [row.name for row in watch.statistics()] == list(outputs)
    squares = 0.0
    for found in watch.statistics():
        y = outputs[found.name]
        assert found.output["mean"] == pytest.approx(y.mean(), abs=1e-5)
        assert found.output["deviation"] == pytest.approx(y.std(), rel=1e-4)
        assert found.output["largest"] == pytest.approx(abs(y).max(), rel=1e-6)
        assert found.output["zeros"] == pytest.approx((y == 0).mean(), abs=1e-12)
        weights = [net.parameters[key].value.ravel() for key in net.parameters if key.startswith(f"{found.name}/")]
        assert found.weight_norm == pytest.approx(np.linalg.norm(np.concatenate(weights)) if weights else 0, rel=1e-5)
        squares += found.gradient_norm**2
    assert squares == pytest.approx(np.linalg.norm(gradient.astype(np.float64)) ** 2, rel=1e-5)
    by_name = {row.name: row for row in watch.statistics()}
    assert 0.2 < by_name["C1.activation"].output["zeros"] < 0.8  # a ReLU
    assert by_name["S2"].gradient_norm == by_name["S2"].weight_norm == 0


@pytest.mark.parametrize("name", ["C1", "C3", "C5", "F6", "output"])
@pytest.mark.parametrize("value", [3e38, np.nan, np.inf])
def test_the_layer_where_numbers_break_is_named(name, value):
    net, x, labels = net_and_digits()
    Watch(net)
    net.parameters[f"{name}/W"].value[...] = value
    with pytest.raises(FloatingPointError, match=f"layer {name}, forward: "):
        net.loss_and_grad(x, labels, np.zeros(net.size, np.float32))


def test_bad_input_is_reported_by_the_first_layer():
    net, x, _ = net_and_digits()
    Watch(net)
    x[0, 3, 3, 2] = np.nan
    with pytest.raises(FloatingPointError, match="layer C1, forward: "):
        net.forward(x)


def test_overflow_in_the_backward_pass_is_named(monkeypatch):
    net, x, labels = net_and_digits(activation="tanh")
    backward = Tanh.backward

    def explode(self, dy):
        dx = backward(self, dy)
        return dx * np.float32(1e38) * np.float32(1e38) if self.name == "C5.activation" else dx

    monkeypatch.setattr(Tanh, "backward", explode)
    Watch(net)
    with pytest.raises(FloatingPointError, match=r"layer C5.activation, backward: overflow"):
        net.loss_and_grad(x, labels, np.zeros(net.size, np.float32))


def test_silent_nan_in_the_backward_pass_is_named(monkeypatch):
    net, x, labels = net_and_digits(activation="tanh")
    monkeypatch.setattr(Tanh, "backward", lambda self, dy: np.full(self._out.shape, np.nan, np.float32))
    Watch(net)
    with pytest.raises(FloatingPointError, match=r"layer F6.activation, backward: NaN or infinity"):
        net.loss_and_grad(x, labels, np.zeros(net.size, np.float32))
