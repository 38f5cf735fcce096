import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nn import reference

from distlenet.errors import ConfigError
from distlenet.nn import Sequential, outline
from distlenet.nn.activations import ELU, ReLU, ScaledTanh, Sigmoid, Tanh
from distlenet.nn.convolution import Conv2d
from distlenet.nn.dense import Dense, Flatten
from distlenet.nn.models import ACTIVATIONS as BY_NAME
from distlenet.nn.models import POOLINGS as POOLS_BY_NAME
from distlenet.nn.models import lenet5
from distlenet.nn.net import Net
from distlenet.nn.pooling import AveragePool2d, MaxPool2d, TrainablePool2d

QUICK = settings(derandomize=True, deadline=None, max_examples=400)
CONVOLUTIONS = st.tuples(
    st.just(Conv2d), st.integers(1, 8), st.sampled_from([1, 3, 5]), st.sampled_from(["valid", "same", "full"])
)
POOLINGS = st.tuples(
    st.sampled_from([AveragePool2d, MaxPool2d, TrainablePool2d]), st.integers(1, 3), st.sampled_from([None, 1, 2, 3])
)
POOL_OF_TWO = st.tuples(st.sampled_from([AveragePool2d, MaxPool2d, TrainablePool2d]), st.just(2))
ACTIVATIONS = st.tuples(st.sampled_from(list(BY_NAME.values())))
PICTURES = st.lists(st.one_of(CONVOLUTIONS, ACTIVATIONS, POOL_OF_TWO, POOLINGS), min_size=1, max_size=6)
VECTORS = st.lists(st.one_of(ACTIVATIONS, st.tuples(st.just(Dense), st.integers(1, 9))), max_size=4)


def build(pictures, vectors, shape, dtype):
    """Return a net of the drawn layers, or reject the example if they do not fit."""
    drawn = [*pictures, (Flatten,), *vectors, (Dense, 4)]
    try:
        return Net([(f"L{place}", kind(*rest)) for place, (kind, *rest) in enumerate(drawn)], shape, dtype)
    except ConfigError:
        assume(False)


def on_a_grid(random, shape, dtype):
    """Return multiples of 1/8 within +-1: sums are exact, so ties and zeros are the same in any order of work."""
    return (random.integers(-8, 9, shape) / 8).astype(dtype)


def uniform(random, shape, dtype):
    """Return numbers within +-1: no two are equal."""
    return random.uniform(-1, 1, shape).astype(dtype)


def compare(net, x, labels, tolerance):
    kept, gradient = x.copy(), np.full(net.size, np.nan, net.theta.dtype)
    logits, loss, expected = reference.run_net(net, x, labels)
    found, correct = net.loss_and_grad(x, labels, gradient)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_allclose(net.forward(x), logits, rtol=tolerance, atol=tolerance * (1 + abs(logits).max()))
    np.testing.assert_allclose(found, loss, rtol=tolerance, atol=tolerance * (1 + abs(logits).max()) * len(labels))
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=tolerance * (1 + abs(expected).max()))
    assert 0 <= correct <= len(labels)


@QUICK
@given(
    pictures=PICTURES,
    vectors=VECTORS,
    channels=st.integers(1, 3),
    height=st.integers(4, 14),
    width=st.integers(4, 14),
    n=st.sampled_from([1, 3, 32]),
    seed=st.integers(0, 999),
)
def test_any_row_of_layers_equals_the_plain_reference(pictures, vectors, channels, height, width, n, seed):
    net = build(pictures, vectors, (channels, height, width), np.float64)
    random, curved = np.random.default_rng(seed), (Tanh, Sigmoid, ELU, ScaledTanh)
    # on a grid, values that are equal in theory may differ in the last bit after a curve, and change a maximum
    draw = uniform if any(kind in curved for kind, *_ in [*pictures, *vectors]) else on_a_grid
    net.theta[:] = draw(random, net.size, np.float64)
    x, labels = draw(random, (channels, height, width, n), np.float64), random.integers(0, 4, n)
    compare(net, x, labels, 1e-10)


CHAINS = {
    "conv relu pool conv": [(Conv2d, 6, 5, "same"), (ReLU,), (AveragePool2d,), (Conv2d, 16, 5)],
    "conv max conv max": [(Conv2d, 3, 3, "same"), (MaxPool2d,), (Conv2d, 5, 3, "full"), (MaxPool2d,)],
    "conv tanh pool conv pool": [
        (Conv2d, 2, 3, "same"),
        (Tanh,),
        (AveragePool2d,),
        (Conv2d, 1, 1),
        (AveragePool2d,),
    ],
    "pool after pool": [(Conv2d, 1, 1), (AveragePool2d,), (AveragePool2d,)],
    "max after pool": [(Conv2d, 1, 1), (AveragePool2d,), (MaxPool2d,)],
    "pool after max": [(Conv2d, 1, 1), (MaxPool2d,), (AveragePool2d,)],
    "trainable after conv": [(Conv2d, 6, 5, "same"), (ScaledTanh,), (TrainablePool2d,), (ScaledTanh,), (Conv2d, 4, 3)],
    "trainable after trainable": [(Conv2d, 1, 1), (TrainablePool2d,), (TrainablePool2d,), (ELU,)],
    "trainable first": [(TrainablePool2d,), (Sigmoid,), (Conv2d, 3, 3), (TrainablePool2d, 3, 2)],
    "max after max": [(Conv2d, 1, 1), (MaxPool2d,), (ReLU,), (MaxPool2d,)],
    "conv conv": [(Conv2d, 4, 3, "full"), (Conv2d, 3, 3), (ReLU,), (Conv2d, 2, 3, "same")],
    "conv pool of three": [(Conv2d, 4, 3, "same"), (ReLU,), (MaxPool2d, 3), (Conv2d, 3, 2)],
    "conv overlapping pool": [(Conv2d, 4, 3, "same"), (MaxPool2d, 3, 2), (ReLU,), (Conv2d, 3, 2)],
    "in place after flatten": [(Conv2d, 4, 3), (MaxPool2d,), (Flatten,), (ReLU,)],
    "tanh after flatten": [(Conv2d, 4, 3), (MaxPool2d, 2, 1), (Flatten,), (Tanh,)],
    "twice the same": [(Conv2d, 4, 3), (Tanh,), (Flatten,), (Tanh,), (ReLU,)],
}


@pytest.mark.parametrize("n", [1, 3, 32])
@pytest.mark.parametrize("size", [(16, 16), (16, 12), (12, 24)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize("chain", CHAINS)
def test_chains_that_pass_pictures_on(chain, dtype, tolerance, size, n):
    drawn = CHAINS[chain] + [] if (Flatten,) in CHAINS[chain] else [*CHAINS[chain], (Flatten,)]
    layers = [(f"L{place}", kind(*rest)) for place, (kind, *rest) in enumerate([*drawn, (Dense, 4)])]
    net = Net(layers, (2, *size), dtype)
    random = np.random.default_rng(n)
    net.theta[:] = on_a_grid(random, net.size, dtype)
    compare(net, on_a_grid(random, (2, *size, n), dtype), random.integers(0, 4, n), tolerance)


@pytest.mark.parametrize("pooling", POOLS_BY_NAME)
@pytest.mark.parametrize("activation", BY_NAME)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 20, 26)])
def test_lenet5_equals_the_plain_reference(shape, activation, pooling):
    net = lenet5(shape, activation=activation, pooling=pooling, dtype=np.float64)
    net.initialize("glorot", 3)
    random = np.random.default_rng(0)
    compare(net, random.normal(size=(*shape, 3)), random.integers(0, 10, 3), 1e-10)


def pixels(n, dtype=np.float32):
    random = np.random.default_rng(n)
    return random.normal(size=(1, 28, 28, n)).astype(dtype), random.integers(0, 10, n)


def outcome(net, n):
    x, labels = pixels(n)
    gradient = np.full(net.size, np.nan, np.float32)
    loss, correct = net.loss_and_grad(x, labels, gradient)
    return loss, correct, gradient


def fresh(**options):
    net = lenet5(**options)
    net.initialize("he", 1)
    return net


@pytest.mark.parametrize("pooling", POOLS_BY_NAME)
def test_sizes_may_alternate_without_side_effects(pooling):
    used = fresh(pooling=pooling)
    for n in [32, 11, 250, 32, 32, 1, 11]:
        found, expected = outcome(used, n), outcome(fresh(pooling=pooling), n)
        assert found[:2] == expected[:2]
        np.testing.assert_array_equal(found[2], expected[2])
        used.forward(pixels(17)[0])  # an evaluation in between


def test_forward_in_between_does_not_disturb():
    net = fresh()
    first = net.forward(pixels(5)[0]).copy()
    outcome(net, 32)
    np.testing.assert_array_equal(net.forward(pixels(5)[0]), first)


def test_gradient_of_a_batch_is_the_sum_of_the_gradients_of_its_parts():
    net = fresh(dtype=np.float64)
    x, labels = pixels(20, np.float64)
    whole, parts, results = np.zeros(net.size), np.zeros(net.size), []
    loss, correct = net.loss_and_grad(x, labels, whole)
    for cut in (np.s_[:7], np.s_[7:8], np.s_[8:]):
        gradient = np.zeros(net.size)
        results.append(net.loss_and_grad(x[..., cut], labels[cut], gradient))
        parts += gradient
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-11 * abs(whole).max())
    assert sum(loss for loss, _ in results) == pytest.approx(loss, rel=1e-12)
    assert sum(correct for _, correct in results) == correct


def test_samples_last_may_be_a_strided_view():
    net = fresh()
    x, _ = pixels(12)
    np.testing.assert_array_equal(net.forward(x[..., ::2]).copy(), net.forward(x[..., ::2].copy()))


def test_correct_counts_the_largest_logit():
    net = fresh()
    x, _ = pixels(50)
    labels = net.forward(x).argmax(axis=0)
    labels[:13] = (labels[:13] + 1) % 10
    assert net.loss_and_grad(x, labels, np.zeros(net.size, np.float32))[1] == 37


def test_parameters_are_views_of_theta_and_gradients_of_the_callers_vector():
    net = lenet5()
    gradient = np.zeros(net.size, np.float32)
    net.loss_and_grad(*pixels(2), gradient)
    start = 0
    for parameter in net.parameters.values():
        stop = start + parameter.size
        net.theta[start:stop] = np.arange(parameter.size)
        np.testing.assert_array_equal(parameter.value.ravel(), net.theta[start:stop])
        assert np.shares_memory(parameter.value, net.theta)
        assert np.shares_memory(parameter.gradient, gradient)
        assert parameter.value.shape == parameter.gradient.shape == parameter.shape
        start = stop
    assert start == net.size == len(net.theta)


def test_decay_applies_to_weights_only():
    net = lenet5()
    start = 0
    for name, parameter in net.parameters.items():
        part = net.decays[start : start + parameter.size]
        np.testing.assert_array_equal(part, 1 if name.endswith("/W") else 0)
        start += parameter.size
    assert net.decays.sum() == 61706 - (6 + 16 + 120 + 84 + 10)


def test_matrices_are_the_weights():
    net = lenet5()
    shapes = {"C1/W": (6, 25), "C3/W": (16, 150), "C5/W": (120, 400), "F6/W": (84, 120), "output/W": (10, 84)}
    for (name, shape), (part, found) in zip(shapes.items(), net.matrices, strict=True):
        assert found == shape
        np.testing.assert_array_equal(net.theta[part], net.parameters[name].value.ravel())
        assert np.shares_memory(net.theta[part], net.parameters[name].value)


def test_vectors_may_be_the_input():
    net = Net([("hidden", Dense(6)), ("squash", Tanh()), ("output", Dense(3))], (5,), np.float64)
    random = np.random.default_rng(0)
    net.theta[:] = random.normal(size=net.size)
    compare(net, random.normal(size=(5, 4)), random.integers(0, 3, 4), 1e-10)


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="put a Flatten before it"):
        Net([("conv", Conv2d(3, 3)), ("output", Dense(3))], (1, 8, 8))
    with pytest.raises(ConfigError, match="5x5 convolution does not fit into 4x4"):
        lenet5((1, 8, 8))
    with pytest.raises(ConfigError, match=r"layer second .Conv2d.: a 5x5 convolution does not fit into 2x2"):
        Net([("first", Conv2d(3, 3)), ("second", Conv2d(3, 5))], (1, 4, 4))
    with pytest.raises(ConfigError, match=r"layer none .Dense. outputs nothing"):
        Net([("none", Dense(0))], (5,))
    with pytest.raises(ConfigError, match="nothing to train"):
        Net([("flatten", Flatten())], (1, 4, 4))


def layers(classes=3):
    return Conv2d(4, 3), ReLU(), MaxPool2d(2), Conv2d(5, 3), ReLU(), Flatten(), ("last", Dense(classes))


def test_layers_are_named_by_their_type():
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
        (lambda: [Flatten(), *[ReLU()] * 2], r"layer 3 .ReLU. is in the network twice"),
        (lambda: [Flatten(), ReLU()], "nothing to train"),
    ],
)
def test_invalid_networks_give_one_sentence(build, says):
    with pytest.raises(ConfigError, match=says):
        Sequential((1, 8, 8), *build())
