import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nn import reference

from distlenet.nn.activations import ReLU, ScaledTanh, Sigmoid, Tanh
from distlenet.nn.models import ACTIVATIONS

QUICK = settings(derandomize=True, deadline=None, max_examples=25)
KINDS = pytest.mark.parametrize("kind", ACTIVATIONS.values())
ORDERS = st.sampled_from(list(reference.ORDERS))


@KINDS
@QUICK
@given(
    channels=st.integers(1, 5),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    order=ORDERS,
    n=st.sampled_from([1, 3, 32]),
)
def test_backward_is_the_derivative(kind, channels, rows, columns, order, n):
    reference.check_layer(kind(), (channels, rows, columns), n, np.random.default_rng(channels), order)


@KINDS
@pytest.mark.parametrize("n", [1, 3, 32])
def test_backward_is_the_derivative_for_vectors(kind, n):
    reference.check_layer(kind(), (84,), n, np.random.default_rng(n))


@KINDS
def test_in_place_gives_the_same_bits(kind):
    random = np.random.default_rng(0)
    x, dy = (random.normal(size=(3, 4, 4, 5)).astype(np.float32) for _ in range(2))
    apart, within = kind(), kind()
    within.in_place = True
    kept = x.copy()
    y = apart.forward(x).copy()
    np.testing.assert_array_equal(x, kept)  # only in place may it write to its input
    dx = apart.backward(dy).copy()
    np.testing.assert_array_equal(within.forward(x), y)
    assert np.shares_memory(within.backward(dy), x)
    np.testing.assert_array_equal(x, dx)


@KINDS
def test_gradient_may_arrive_as_a_broadcast_view(kind):
    random = np.random.default_rng(0)
    x = reference.laid_out(random.normal(size=(3, 10, 20, 6)), "rows first")
    fine = np.broadcast_to(random.normal(size=(3, 5, 1, 20, 6)), (3, 5, 2, 20, 6))  # as from an average pooling
    layer = kind()
    reference.connect(layer, (3, 10, 20), random)
    layer.forward(x)
    expected = layer.backward(fine.reshape(x.shape)).copy()
    layer.forward(x)
    found = layer.backward(fine)
    assert found.shape == x.shape
    np.testing.assert_array_equal(found, expected)


def test_relu_at_and_around_zero():
    layer = ReLU()
    x = np.array([[-1, -0.0, 0.0, 1e-30, 2]], np.float32)
    np.testing.assert_array_equal(layer.forward(x), [[0, 0, 0, np.float32(1e-30), 2]])
    np.testing.assert_array_equal(layer.backward(np.full_like(x, 3)), [[0, 0, 0, 3, 3]])


@KINDS
def test_nan_is_not_hidden(kind):
    assert np.isnan(kind().forward(np.array([[np.nan, 1]], np.float32))[0, 0])


def test_tanh_far_out_is_flat():
    layer = Tanh()
    np.testing.assert_array_equal(layer.forward(np.array([[-1e30, 1e30]], np.float32)), [[-1, 1]])
    np.testing.assert_array_equal(layer.backward(np.ones((1, 2), np.float32)), [[0, 0]])


VALUES = {  # at -2, -0.5, 0, 0.5 and 2
    "relu": [0, 0, 0, 0.5, 2],
    "tanh": [-0.96402758, -0.46211716, 0, 0.46211716, 0.96402758],
    "sigmoid": [0.11920292, 0.37754067, 0.5, 0.62245933, 0.88079708],
    "leaky-relu": [-0.02, -0.005, 0, 0.5, 2],
    "elu": [-0.86466472, -0.39346934, 0, 0.5, 2],
    "scaled-tanh": [-1.49293881, -0.55168371, 0, 0.55168371, 1.49293881],
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values(name):
    x = np.array([[-2, -0.5, 0, 0.5, 2]])
    layer = ACTIVATIONS[name]()
    layer.dtype = np.float64
    np.testing.assert_allclose(layer.forward(x), [VALUES[name]], rtol=0, atol=2e-8)


def test_scaled_tanh_keeps_one():
    assert ScaledTanh().forward(np.array([[1.0]], np.float32))[0, 0] == pytest.approx(1, abs=1e-4)


def test_nothing_overflows_far_out():
    far = np.array([[-1e30, -200, 200, 1e30]], np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for kind in ACTIVATIONS.values():
            layer = kind()
            y = layer.forward(far)
            assert np.isfinite(y).all()
            assert np.isfinite(layer.backward(np.ones_like(far))).all()
        np.testing.assert_array_equal(Sigmoid().forward(far), [[0, 0, 1, 1]])
