import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nn import reference

from distlenet.errors import ConfigError
from distlenet.nn.dense import Dense, Flatten
from distlenet.nn.net import Net
from distlenet.nn.pooling import AveragePool2d, MaxPool2d, Pad2d, TrainablePool2d

QUICK = settings(derandomize=True, deadline=None, max_examples=150)
KINDS = pytest.mark.parametrize("kind", [AveragePool2d, MaxPool2d, TrainablePool2d])


@st.composite
def cases(draw):
    """Draw a pooling that fits: window, stride, the sample's shape and its order in memory."""
    window = draw(st.integers(1, 3))
    shape = draw(st.integers(1, 4)), draw(st.integers(window, 13)), draw(st.integers(window, 13))
    return window, draw(st.integers(1, 4)), shape, draw(st.sampled_from(list(reference.ORDERS)))


@KINDS
@QUICK
@given(case=cases(), n=st.sampled_from([1, 3, 32]), seed=st.integers(0, 999))
def test_backward_is_the_derivative(kind, case, n, seed):
    window, stride, shape, order = case
    reference.check_layer(kind(window, stride), shape, n, np.random.default_rng(seed), order)


@KINDS
@QUICK
@given(case=cases(), n=st.sampled_from([1, 3]), seed=st.integers(0, 999), ties=st.booleans())
def test_equals_one_window_at_a_time(kind, case, n, seed, ties):
    (window, stride, shape, order), random = case, np.random.default_rng(seed)
    layer = kind(window, stride)
    reference.connect(layer, shape, random)
    x = random.integers(0, 3, (*shape, n)) * 1.0 if ties else random.normal(size=(*shape, n))
    s = reference.laid_out(x, order)
    if kind is TrainablePool2d:
        expected, back = reference.subsample(x, *(p.value for p in layer.parameters), window, stride)
    else:
        expected, back = reference.pool(x, window, stride, kind is MaxPool2d)
    y = layer.forward(s)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)
    dy = random.normal(size=y.shape)
    expected_dx, gradients = back(dy)
    np.testing.assert_allclose(layer.backward(dy).reshape(s.shape), expected_dx, rtol=0, atol=1e-12)
    for parameter, gradient in zip(layer.parameters, gradients, strict=True):
        np.testing.assert_allclose(parameter.gradient, gradient, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(s, x)  # neither pass writes to the input


@KINDS
@pytest.mark.parametrize("height", [8, 9])
def test_gradient_may_arrive_as_a_broadcast_view(kind, height):
    # as from an average pooling right after this layer
    layer, random = kind(2), np.random.default_rng(3)
    reference.connect(layer, (3, height, 8), random)
    y = layer.forward(reference.distinct(random, (3, height, 8, 5)))
    fine = np.broadcast_to(random.normal(size=(3, 2, 1, 4, 5)), (3, 2, 2, 4, 5))
    expected = layer.backward(fine.reshape(y.shape)).reshape(-1).copy()
    np.testing.assert_array_equal(layer.backward(fine).reshape(-1), expected)


def test_ties_give_the_gradient_to_exactly_one():
    layer = MaxPool2d(2)
    reference.connect(layer, (2, 4, 8), np.random.default_rng(0))
    y = layer.forward(np.zeros((2, 4, 8, 3)))
    dx = layer.backward(np.ones_like(y))
    np.testing.assert_array_equal(dx[:, ::2, ::2], 1)  # the first in reading order
    assert dx.sum() == y.size


def test_among_equals_in_different_columns_the_upper_one_is_first():
    layer = MaxPool2d(2)
    reference.connect(layer, (1, 2, 2), np.random.default_rng(0))
    y = layer.forward(np.array([[0.0, 1], [1, 0]]).reshape(1, 2, 2, 1))
    np.testing.assert_array_equal(layer.backward(np.ones_like(y)).ravel(), [0, 1, 0, 0])


def test_overlapping_windows_with_one_maximum_add_up():
    layer = MaxPool2d(3, 1)
    reference.connect(layer, (1, 5, 5), np.random.default_rng(0))
    x = np.zeros((1, 5, 5, 1))
    x[0, 2, 2] = 1
    y = layer.forward(x)
    dx = layer.backward(np.ones_like(y))
    assert dx[0, 2, 2, 0] == 9 and dx.sum() == 9


@KINDS
@pytest.mark.parametrize("order", reference.ORDERS)
@pytest.mark.parametrize("arguments", [(2,), (3, 2)])
def test_buffers_do_not_leak_between_sizes(kind, arguments, order):
    reference.check_buffers(lambda: kind(*arguments), (3, 12, 12), order)


@KINDS
def test_rows_that_fill_no_window_are_dropped(kind):
    assert kind(2).connect((6, 7, 9)) == (6, 3, 4)
    assert kind(3, 2).connect((6, 8, 9)) == (6, 3, 4)


@KINDS
def test_unsuitable_shapes_give_one_sentence(kind):
    with pytest.raises(ConfigError, match="3x3 window does not fit into 2x8"):
        kind(3).connect((1, 2, 8))
    with pytest.raises(ConfigError, match=r"pictures \(C, H, W\), got samples of shape \(784,\)"):
        kind(2).connect((784,))


@pytest.mark.parametrize("method", ["he", "glorot", "fan-in", "normal"])
def test_trainable_starts_as_the_average(method):
    def net(kind):
        made = Net([("pool", kind(2)), ("flatten", Flatten()), ("output", Dense(3))], (2, 6, 6))
        made.initialize(method, 1)
        return made

    trainable, average = net(TrainablePool2d), net(AveragePool2d)
    assert trainable.size == average.size + 4
    trainable.theta[4:] = average.theta
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 5)).astype(np.float32)
    np.testing.assert_array_equal(trainable.forward(x), average.forward(x))


def test_trainable_as_the_first_layer_gives_no_input_gradient():
    layer = TrainablePool2d(2)
    reference.connect(layer, (2, 4, 4), np.random.default_rng(0))
    layer.needs_input_gradient = False
    y = layer.forward(np.ones((2, 4, 4, 3)))
    assert layer.backward(np.ones_like(y)) is None
    np.testing.assert_array_equal(layer.parameters[0].gradient, [4 * 4 * 3] * 2)
    np.testing.assert_array_equal(layer.parameters[1].gradient, [4 * 3] * 2)


@pytest.mark.parametrize("order", reference.ORDERS)
@pytest.mark.parametrize("n", [1, 3])
def test_backward_of_padding_is_the_derivative(order, n):
    reference.check_layer(Pad2d(2, -0.1), (2, 4, 6), n, np.random.default_rng(n), order)


@pytest.mark.parametrize("order", reference.ORDERS)
def test_a_border_of_one_value(order):
    layer, random = Pad2d(2, -0.1), np.random.default_rng(0)
    reference.connect(layer, (2, 4, 6), random)
    x = random.normal(size=(2, 4, 6, 3))
    expected = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=-0.1)
    for _ in range(2):
        padded = layer.forward(reference.laid_out(x, order))
        np.testing.assert_array_equal(padded, expected)
        padded *= 2  # like a layer that works in place


def test_vectors_are_refused():
    with pytest.raises(ConfigError, match="pictures"):
        Pad2d(2).connect((84,))
