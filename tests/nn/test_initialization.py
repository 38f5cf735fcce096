import numpy as np
import pytest

from distlenet.arithmetic import NATIVE
from distlenet.data.plan import NOISE, ORDER
from distlenet.errors import ConfigError
from distlenet.nn.activations import ReLU
from distlenet.nn.dense import Dense
from distlenet.nn.initialization import METHODS, initialize
from distlenet.nn.layer import Parameter
from distlenet.nn.models import lenet5
from distlenet.nn.net import Net

ALL = pytest.mark.parametrize("method", METHODS)


def draw(method, name="W", seed=1, position=0, fan_in=200, fan_out=100, sigma=0.1):
    parameter = Parameter(name, (200, 200), fan_in, fan_out)
    parameter.value = np.full(parameter.shape, np.nan)
    initialize(parameter, method, seed, position, sigma)
    return parameter.value


@pytest.mark.parametrize(
    ("method", "std", "limit"),
    [
        ("he", np.sqrt(2 / 200), np.inf),
        ("glorot", np.sqrt(2 / 300), np.sqrt(6 / 300)),
        ("fan-in", 2.4 / 200 / np.sqrt(3), 2.4 / 200),
        ("normal", 0.03, np.inf),
    ],
)
def test_weights_have_the_published_spread(method, std, limit):
    values = draw(method, sigma=0.03)
    assert values.mean() == pytest.approx(0, abs=0.02 * std)  # 40,000 values: 4 standard errors
    assert values.std() == pytest.approx(std, rel=0.02)
    assert abs(values).max() <= limit
    if np.isfinite(limit):
        assert abs(values).max() > 0.999 * limit
    else:
        assert abs(values).max() > 3.5 * std  # a normal distribution, not cut off


@pytest.mark.parametrize("method", ["he", "glorot"])
def test_biases_are_zero(method):
    assert not draw(method, name="b").any()


@pytest.mark.parametrize("method", ["fan-in", "normal"])
def test_biases_are_drawn_like_weights(method):
    np.testing.assert_array_equal(draw(method, name="b"), draw(method))


@ALL
def test_same_seed_same_bits_other_seed_other_values(method):
    np.testing.assert_array_equal(draw(method), draw(method))
    for other in (draw(method, seed=2), draw(method, position=1)):
        assert abs(np.corrcoef(draw(method).ravel(), other.ravel())[0, 1]) < 0.03


@ALL
def test_a_net_is_initialized_completely_and_repeatably(method):
    nets = [lenet5(), lenet5(), lenet5()]
    for net, seed in zip(nets, [5, 5, 6], strict=True):
        net.theta[:] = np.nan
        net.initialize(method, seed)
        assert np.isfinite(net.theta).all()
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)
    weights = nets[0].decays == 1
    assert (nets[0].theta[weights] != nets[2].theta[weights]).mean() > 0.99


@ALL
def test_an_additional_layer_does_not_change_those_before_it(method):
    def values(*layers):
        net = Net([(f"L{place}", layer) for place, layer in enumerate(layers)], (30,))
        net.initialize(method, 1)
        return net.parameters["L0/W"].value

    first = values(Dense(20), ReLU(), Dense(10))
    np.testing.assert_array_equal(first, values(Dense(20), ReLU(), Dense(10), ReLU(), Dense(5)))
    np.testing.assert_array_equal(first, values(Dense(20), Dense(10)))


@ALL
def test_float32_values_are_the_float64_values_rounded(method):
    nets = [lenet5(dtype=np.float32), lenet5(dtype=np.float64)]
    for net in nets:
        net.initialize(method, 1)
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta.astype(np.float32))


def test_initial_weights_share_no_random_numbers_with_the_data():
    for purpose in (ORDER, NOISE):
        for place in (0, 1, 2):
            drawn = NATIVE.stream(1, purpose, 0, place).random((200, 200))
            for position in range(12):
                values = draw("fan-in", position=position)  # uniform
                assert abs(np.corrcoef(values.ravel(), drawn.ravel())[0, 1]) < 0.03


def test_largest_seed_is_accepted():
    assert np.isfinite(draw("he", seed=2**63 - 1)).all()


def test_an_unknown_method_suggests_the_nearest():
    with pytest.raises(ConfigError, match="'xavier' is unknown: one of he, glorot, fan-in, normal"):
        lenet5().initialize("xavier", 1)
    with pytest.raises(ConfigError, match="did you mean 'glorot'"):
        lenet5().initialize("glorott", 1)
