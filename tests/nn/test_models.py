import numpy as np
import pytest

from distlenet.config import Config
from distlenet.errors import ConfigError
from distlenet.nn import input_statistics
from distlenet.nn.inspection import check_gradients, outline
from distlenet.nn.models import MODELS, TABLE, build_net, lenet5
from distlenet.trust import Trust

SHAPES = {
    "C1/W": (6, 1, 5, 5),
    "C1/b": (6,),
    "C3/W": (16, 6, 5, 5),
    "C3/b": (16,),
    "C5/W": (120, 400),
    "C5/b": (120,),
    "F6/W": (84, 120),
    "F6/b": (84,),
    "output/W": (10, 84),
    "output/b": (10,),
}


def test_lenet5_has_the_published_parameters():
    net = lenet5()
    assert {name: parameter.shape for name, parameter in net.parameters.items()} == SHAPES
    assert list(net.parameters) == list(SHAPES)  # the order of theta
    sizes = [sum(p.size for name, p in net.parameters.items() if name.startswith(f"{layer}/"))
             for layer in ("C1", "C3", "C5", "F6", "output")]  # fmt: skip
    assert sizes == [156, 2416, 48120, 10164, 850]
    assert net.size == sum(sizes) == 61706
    assert net.output_shape == (10,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_has_the_requested_type(dtype):
    net = lenet5(dtype=dtype)
    net.initialize("he", 0)
    x = np.random.default_rng(0).normal(size=(1, 28, 28, 4)).astype(dtype)
    assert net.theta.dtype == net.decays.dtype == net.forward(x).dtype == dtype
    assert {y.dtype for _, y in net.walk(x)} == {np.dtype(dtype)}


@pytest.mark.parametrize("model", [name for name in MODELS if name != "lenet5-1998"])  # its outputs are ten digits
@pytest.mark.parametrize(("shape", "classes"), [((3, 32, 32), 62), ((1, 20, 30), 2)])
def test_other_pictures_and_classes(model, shape, classes):
    net = build_net(Config(model=model, activation="tanh", pooling="max"), shape, classes)
    net.initialize("glorot", 0)
    assert net.forward(np.ones((*shape, 3), np.float32)).shape == (classes, 3)


SIZES = {  # counted by hand: weights and biases, layer by layer
    "feed-forward": (784 * 128 + 128) + (128 * 10 + 10),
    "single-conv": (25 * 6 + 6) + (6 * 24 * 24 * 10 + 10),
    "single-conv-pool": (25 * 6 + 6) + (6 * 12 * 12 * 10 + 10),
    "double-conv": (25 * 6 + 6) + (6 * 25 * 16 + 16) + (16 * 20 * 20 * 10 + 10),
    "lenet5-deeper": 61706 + (84 * 84 + 84),
    "conv8-conv8": (9 * 8 + 8) + (8 * 9 * 8 + 8) + (8 * 12 * 12 * 128 + 128) + (128 * 10 + 10),
}


@pytest.mark.parametrize("model", SIZES)
def test_sizes(model):
    net = build_net(Config(model=model), (1, 28, 28), 10)
    assert net.size == SIZES[model] == sum(row.parameters for row in outline(net))
    assert [row.shape for row in outline(net)][-1] == net.output_shape == (10,)


def test_trainable_subsampling_adds_two_parameters_per_map():
    assert lenet5(pooling="trainable").size == 61706 + 12 + 32


def test_only_the_first_layer_needs_no_input_gradient():
    needs = {layer.name: layer.needs_input_gradient for layer in lenet5().layers}
    assert not needs.pop("C1") and all(needs.values())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model": "lenet"}, "model 'lenet' is unknown .did you mean 'lenet5'"),
        ({"activation": "rellu"}, "activation 'rellu' is unknown .did you mean 'relu'"),
        ({"pooling": "averge"}, "pooling 'averge' is unknown .did you mean 'average'"),
        ({"pooling": "?"}, "pooling '.' is unknown: one of average, max, trainable"),
        ({"model": "feed-forward", "pooling": "?"}, "pooling '.' is unknown: one of average, max, trainable"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(settings, says):
    with pytest.raises(ConfigError, match=says):
        build_net(Config(**settings), (1, 28, 28), 10)


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


def test_shapes_of_all_layers():
    shapes = {layer.name: layer.output_shape for layer in lenet5_1998().layers}
    assert shapes["input"] == (1, 32, 32)
    assert shapes["C1"] == (6, 28, 28)
    assert shapes["S2"] == (6, 14, 14)
    assert shapes["C3"] == (16, 10, 10)
    assert shapes["S4"] == (16, 5, 5)
    assert (shapes["C5"], shapes["F6"]) == ((120,), (84,))


def test_pixels_range_from_background_to_foreground():
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


@pytest.mark.parametrize("model", ["lenet5", "lenet5-1998", "own"])
def test_labels_are_smoothed_in_every_network(model, tmp_path):
    if model == "own":
        (tmp_path / "own.py").write_text(
            "from distlenet.nn import Dense, Flatten, Sequential\n"
            "def build(shape, classes):\n    return Sequential(shape, Flatten(), Dense(classes))\n"
        )
        model = f"{tmp_path / 'own.py'}:build"
    config = Config(model=model, label_smoothing=0.1)
    net = build_net(config, (1, 28, 28), 10, Trust(others=(model,))).to(np.float64)
    net.initialize("fan-in", 1)
    x, labels = np.random.default_rng(0).normal(size=(1, 28, 28, 3)), np.array([3, 0, 9])
    assert net.loss.smoothing == 0.1
    assert max(check.worst for check in check_gradients(net, x, labels)) < 1e-4
