import numpy as np
import pytest

from distlenet.nn.activations import Tanh
from distlenet.nn.inspection import Watch
from distlenet.nn.models import lenet5


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


def test_bad_input_is_the_first_layers():
    net, x, _ = net_and_digits()
    Watch(net)
    x[0, 3, 3, 2] = np.nan
    with pytest.raises(FloatingPointError, match="layer C1, forward: "):
        net.forward(x)


def test_overflow_on_the_way_back_is_named(monkeypatch):
    net, x, labels = net_and_digits(activation="tanh")
    backward = Tanh.backward

    def explode(self, dy):
        dx = backward(self, dy)
        return dx * np.float32(1e38) * np.float32(1e38) if self.name == "C5.activation" else dx

    monkeypatch.setattr(Tanh, "backward", explode)
    Watch(net)
    with pytest.raises(FloatingPointError, match=r"layer C5.activation, backward: overflow"):
        net.loss_and_grad(x, labels, np.zeros(net.size, np.float32))


def test_silent_nan_on_the_way_back_is_named(monkeypatch):
    net, x, labels = net_and_digits(activation="tanh")
    monkeypatch.setattr(Tanh, "backward", lambda self, dy: np.full(self._out.shape, np.nan, np.float32))
    Watch(net)
    with pytest.raises(FloatingPointError, match=r"layer F6.activation, backward: NaN or infinity"):
        net.loss_and_grad(x, labels, np.zeros(net.size, np.float32))
