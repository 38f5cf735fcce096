import numpy as np
import pytest

from distlenet.config import Config
from distlenet.errors import ConfigError
from distlenet.nn import build_net, input_statistics
from distlenet.nn.inspection import check_gradients
from distlenet.nn.models import TABLE

PUBLISHED = Config(model="lenet5-1998")


def lenet5_1998(shape=(1, 28, 28)):
    return build_net(PUBLISHED, shape, 10)


def test_the_published_numbers_of_parameters():
    net = lenet5_1998()
    sizes = {}
    for name, parameter in net.parameters.items():
        layer = name.split("/")[0]
        sizes[layer] = sizes.get(layer, 0) + parameter.size
    assert sizes == {"C1": 156, "S2": 12, "C3": 1516, "S4": 32, "C5": 48120, "F6": 10164}
    assert net.size == net.theta.size == 60000
    assert net.output_shape == (10,)


def test_the_published_connections():
    assert [len(row) for row in TABLE] == [3] * 6 + [4] * 9 + [6]
    assert len({tuple(row) for row in TABLE}) == 16
    assert all(sum(c in row for row in TABLE) == 10 for c in range(6))  # each map of S2 feeds ten of C3


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 20, 26), (3, 32, 32)], ids=str)
def test_the_gradient_of_the_whole(shape):
    net = lenet5_1998(shape).to(np.float64)
    net.initialize("fan-in", 1)
    random = np.random.default_rng(0)
    x, labels = random.uniform(-0.1, 1.175, (*shape, 3)), random.integers(0, 10, 3)
    assert max(check.worst for check in check_gradients(net, x, labels)) < 1e-6


def test_shapes_on_the_way():
    shapes = {layer.name: layer.output_shape for layer in lenet5_1998().layers}
    assert shapes["input"] == (1, 32, 32)
    assert shapes["C1"] == (6, 28, 28)
    assert shapes["S2"] == (6, 14, 14)
    assert shapes["C3"] == (16, 10, 10)
    assert shapes["S4"] == (16, 5, 5)
    assert (shapes["C5"], shapes["F6"]) == ((120,), (84,))


def test_pixels_go_from_background_to_foreground():
    mean, std = input_statistics("lenet5-1998", 0.5, 0.5)
    assert [(pixel - mean) / std for pixel in (0, 1)] == pytest.approx([-0.1, 1.175])
    assert input_statistics("lenet5", 0.13, 0.31) == (0.13, 0.31)


def test_the_constant_of_the_loss_can_be_set():
    assert build_net(Config(model="lenet5-1998", rubbish=3.0), (1, 28, 28), 10).loss.j == 3.0


def test_other_numbers_of_classes_are_refused():
    with pytest.raises(ConfigError, match="codes for 10 classes, got 47"):
        build_net(Config(model="lenet5-1998"), (1, 28, 28), 47)


def test_everything_starts_within_the_published_range():
    net = lenet5_1998()
    net.initialize("fan-in", 1)
    fan_in = {"C1": 25, "S2": 4, "C3": 75, "S4": 4, "C5": 400, "F6": 120}  # C3: the smallest
    for name, parameter in net.parameters.items():
        limit = 2.4 / fan_in[name.split("/")[0]]
        assert abs(parameter.value).max() <= limit
        assert parameter.value.std() > 0.2 * limit
