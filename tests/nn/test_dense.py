import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nn import reference

from distlenet.errors import ConfigError
from distlenet.nn.dense import Dense, Flatten

QUICK = settings(derandomize=True, deadline=None, max_examples=25)


@QUICK
@given(inputs=st.integers(1, 40), units=st.integers(1, 40), n=st.sampled_from([1, 3, 32]))
def test_dense_backward_is_the_derivative(inputs, units, n):
    reference.check_layer(Dense(units), (inputs,), n, np.random.default_rng(inputs))


@QUICK
@given(
    channels=st.integers(1, 4),
    rows=st.integers(1, 7),
    columns=st.integers(1, 7),
    order=st.sampled_from(list(reference.ORDERS)),
    n=st.sampled_from([1, 3, 32]),
)
def test_flatten_goes_by_channels_whatever_the_order_in_memory(channels, rows, columns, order, n):
    shape = channels, rows, columns
    reference.check_layer(Flatten(), shape, n, np.random.default_rng(n), order)
    layer, x = Flatten(), np.random.default_rng(n).normal(size=(*shape, n))
    assert layer.connect(shape) == (x.size // n,)
    layer.dtype = np.float64
    np.testing.assert_array_equal(layer.forward(reference.laid_out(x, order)), x.reshape(-1, n))
    np.testing.assert_array_equal(layer.backward(x.reshape(-1, n)), x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dense_is_a_product_and_a_bias(dtype):
    layer, random = Dense(7), np.random.default_rng(0)
    reference.connect(layer, (5,), random, dtype)
    x = random.normal(size=(5, 3)).astype(dtype)
    weights, bias = (parameter.value for parameter in layer.parameters)
    y = layer.forward(x)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, weights @ x + bias[:, None], rtol=1e-6, atol=1e-6)


def test_buffers_do_not_leak_between_sizes():
    reference.check_buffers(lambda: Dense(10), (50,))


def test_first_layer_skips_the_gradient_of_its_input():
    layer = Dense(4)
    reference.connect(layer, (5,), np.random.default_rng(0))
    layer.needs_input_gradient = False
    layer.forward(np.ones((5, 2)))
    assert layer.backward(np.ones((4, 2))) is None


def test_pictures_are_refused_with_advice():
    with pytest.raises(ConfigError, match="put a Flatten before it"):
        Dense(10).connect((6, 5, 5))
