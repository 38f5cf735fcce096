import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nn import reference

from distlenet.errors import ConfigError
from distlenet.nn import lowering
from distlenet.nn.convolution import Conv2d
from distlenet.nn.initialization import initialize
from distlenet.nn.partial_convolution import PartialConv2d

QUICK = settings(derandomize=True, deadline=None, max_examples=200)
ORDERS = st.sampled_from(list(reference.ORDERS))
BORDERS = {"valid": 0, "same": 2, "full": 4}  # for a 5x5 kernel


@st.composite
def cases(draw):
    """Draw a convolution that fits: its arguments, the sample's shape, its order in memory."""
    kernel = draw(st.integers(1, 5))
    padding = draw(st.sampled_from(["valid", "same", "full"] if kernel % 2 else ["valid", "full"]))
    least = kernel if padding == "valid" else 1
    shape = draw(st.integers(1, 5)), draw(st.integers(least, 12)), draw(st.integers(least, 12))
    return Conv2d(draw(st.integers(1, 13)), kernel, padding), shape, draw(ORDERS)


@QUICK
@given(case=cases(), n=st.sampled_from([1, 3, 32]), seed=st.integers(0, 999))
def test_backward_is_the_derivative(case, n, seed):
    layer, shape, order = case
    reference.check_layer(layer, shape, n, np.random.default_rng(seed), order, elements=6)


@QUICK
@given(case=cases(), n=st.sampled_from([1, 3, 32]), seed=st.integers(0, 999))
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_equals_direct_convolution_for_any_tile(dtype, tolerance, case, n, seed):
    (layer, shape, order), random = case, np.random.default_rng(seed)
    reference.connect(layer, shape, random, dtype)
    x = random.normal(size=(*shape, n)).astype(dtype)
    weights, bias = layer.parameters
    expected, back = reference.convolve(
        x.astype(np.float64), weights.value.astype(np.float64), bias.value.astype(np.float64), layer.border
    )
    y = layer.forward(reference.laid_out(x, order))
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance * 10)

    dy = random.normal(size=y.shape).astype(dtype)
    dx = layer.backward(reference.laid_out(dy, order))
    expected_dx, (expected_dw, expected_db) = back(dy.astype(np.float64))
    for found, wanted in [(dx, expected_dx), (weights.gradient, expected_dw), (bias.gradient, expected_db)]:
        assert found.dtype == dtype
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * (1 + abs(wanted).max()))


@pytest.mark.parametrize(("channels", "rows", "tile"), [(6, 28, 2), (1, 28, 4), (16, 10, 1), (1, 27, 1), (4, 26, 2)])
def test_few_channels_compute_several_rows_together(channels, rows, tile):
    layer = Conv2d(channels, 3, "same")
    assert layer.connect((2, rows, 5)) == (channels, rows, 5)
    assert layer.tile == tile


@pytest.mark.parametrize(("channels", "n"), [(16, 64), (16, 256), (3, 256), (16, 67)])
def test_large_products_in_blocks_are_the_same_convolution(channels, n):
    layer, random = Conv2d(channels, 5, "same"), np.random.default_rng(1)
    reference.connect(layer, (6, 8, 12), random)
    x, dy = random.normal(size=(6, 8, 12, n)), random.normal(size=(channels, 8, 12, n))
    expected, back = reference.convolve(x, *(parameter.value for parameter in layer.parameters), layer.border)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=0, atol=1e-10)
    expected_dx, gradients = back(dy)
    np.testing.assert_allclose(layer.backward(dy), expected_dx, rtol=0, atol=1e-10)
    for parameter, gradient in zip(layer.parameters, gradients, strict=True):
        np.testing.assert_allclose(parameter.gradient, gradient, rtol=0, atol=1e-9)


@pytest.mark.skipif(not lowering.multiplies_in_place(), reason="this BLAS packs small matrices too")
@pytest.mark.parametrize("n", [8, 16, 17, 32, 40, 48, 64])
@pytest.mark.parametrize(("channels", "padding", "shape"), [(6, "same", (1, 28, 28)), (16, "valid", (6, 14, 14))])
def test_the_faster_form_of_a_small_product_has_the_same_bits(monkeypatch, channels, padding, shape, n):
    results, x = [], np.random.default_rng(3).standard_normal((*shape, n), np.float32)
    for in_place in (True, False):
        monkeypatch.setattr(lowering, "multiplies_in_place", lambda in_place=in_place: in_place)
        layer = Conv2d(channels, 5, padding)
        reference.connect(layer, shape, np.random.default_rng(4), np.float32)
        y = layer.forward(x).copy()
        layer.backward(np.random.default_rng(5).standard_normal(y.shape, np.float32))
        results.append((y, *(parameter.gradient for parameter in layer.parameters)))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("order", reference.ORDERS)
@pytest.mark.parametrize("padding", ["valid", "same", "full"])
def test_buffers_do_not_leak_between_sizes(order, padding):
    reference.check_buffers(lambda: Conv2d(5, 5, padding), (3, 12, 12), order)


def test_same_array_with_other_content_is_read_again():
    layer, random = Conv2d(4, 3, "same"), np.random.default_rng(1)
    reference.connect(layer, (2, 6, 6), random)
    x = random.normal(size=(2, 6, 6, 3))
    once, first = layer.forward(x).copy(), x.copy()
    x *= 2
    assert not np.array_equal(layer.forward(x), once)
    x[...] = first
    np.testing.assert_array_equal(layer.forward(x), once)


def test_weights_are_read_in_every_forward_pass():
    layer, random = Conv2d(4, 3), np.random.default_rng(1)
    reference.connect(layer, (2, 6, 6), random)
    x = random.normal(size=(2, 6, 6, 3))
    layer.forward(x)
    weights, bias = layer.parameters
    weights.value *= -1
    bias.value += 1
    expected, _ = reference.convolve(x, weights.value, bias.value, 0)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=0, atol=1e-12)


def test_gradient_may_arrive_as_a_broadcast_view():
    layer, random = Conv2d(2, 3, "same"), np.random.default_rng(1)
    reference.connect(layer, (1, 8, 8), random)
    y = layer.forward(random.normal(size=(1, 8, 8, 5)))
    fine = np.broadcast_to(random.normal(size=(2, 4, 1, 8, 5)), (2, 4, 2, 8, 5))  # as from an average pooling
    from_view = layer.backward(fine).copy(), *(p.gradient.copy() for p in layer.parameters)
    from_copy = layer.backward(fine.reshape(y.shape)).copy(), *(p.gradient.copy() for p in layer.parameters)
    for found, expected in zip(from_view, from_copy, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_first_layer_skips_the_gradient_of_its_input():
    layer, random = Conv2d(2, 3), np.random.default_rng(1)
    reference.connect(layer, (1, 5, 5), random)
    layer.needs_input_gradient = False
    assert layer.backward(np.ones_like(layer.forward(random.normal(size=(1, 5, 5, 2))))) is None
    assert np.isfinite(layer.parameters[0].gradient).all()


def test_fans_count_inputs_and_outputs():
    layer = Conv2d(16, 5)
    layer.connect((6, 14, 14))
    weights, bias = layer.parameters
    assert (weights.fan_in, weights.fan_out, bias.fan_in) == (150, 400, 150)


@pytest.mark.parametrize(("padding", "border"), BORDERS.items())
def test_shapes_of_the_paddings(padding, border):
    assert Conv2d(6, 5, padding).connect((1, 28, 30)) == (6, 24 + 2 * border, 26 + 2 * border)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Conv2d(6, 5, "smae"), "'smae', expected valid, same or full"),
        (lambda: Conv2d(6, 4, "same"), "odd kernel, got 4"),
        (lambda: Conv2d(6, 5).connect((1, 4, 28)), "5x5 convolution does not fit into 4x28"),
        (lambda: Conv2d(6, 5).connect((784,)), r"pictures \(C, H, W\), got samples of shape \(784,\)"),
    ],
)
def test_unsuitable_shapes_give_one_sentence(make, says):
    with pytest.raises(ConfigError, match=says):
        make()


TABLE = [[0, 2], [1], [0, 1, 2], [2]]


@pytest.mark.parametrize("height", [6, 7])
@pytest.mark.parametrize("n", [1, 3, 16])
def test_backward_of_a_partial_convolution_is_the_derivative(height, n):
    reference.check_layer(PartialConv2d(TABLE, 3), (3, height, 8), n, np.random.default_rng(n), "rows first")


def test_is_a_convolution_with_zeros_where_nothing_is_connected():
    layer, random = PartialConv2d(TABLE, 3), np.random.default_rng(0)
    reference.connect(layer, (3, 6, 8), random)
    weights, bias = layer.parameters
    assert weights.shape == (7, 3, 3)
    kernel = np.zeros((4, 3, 3, 3))
    for weight, (m, c) in zip(weights.value, [(m, c) for m, row in enumerate(TABLE) for c in row], strict=True):
        kernel[m, c] = weight
    np.testing.assert_array_equal(layer.full_kernel(), kernel)
    x = random.normal(size=(3, 6, 8, 2))
    expected, _ = reference.convolve(x, kernel, bias.value, 0)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=1e-10, atol=1e-12)


def test_initial_weights_scale_with_the_inputs_of_each_map():
    layer = PartialConv2d([[0], [0, 1, 2, 3]] * 50, 5)
    reference.connect(layer, (4, 9, 9), np.random.default_rng(0))
    for position, parameter in enumerate(layer.parameters):
        initialize(parameter, "fan-in", 7, position)
    kernel, bias = layer.full_kernel(), layer.parameters[1].value
    for first, inputs in ((0, 1), (1, 4)):
        limit = 2.4 / (25 * inputs)
        for values in (kernel[first::2], bias[first::2]):
            assert 0.9 * limit < abs(values).max() <= limit


def test_a_table_beyond_the_input_is_refused():
    with pytest.raises(ConfigError, match="names channel 2, its input has 2"):
        PartialConv2d(TABLE, 3).connect((2, 6, 8))


def test_a_copy_of_a_layer_has_buffers_of_its_own():
    layer, random = Conv2d(4, 3), np.random.default_rng(0)
    reference.connect(layer, (2, 6, 6), random)
    x, other = random.normal(size=(2, 2, 6, 6, 3))
    y = layer.forward(x).copy()
    copied = copy.deepcopy(layer)
    dx = layer.backward(np.ones_like(y)).copy()
    copied.forward(other)
    np.testing.assert_array_equal(copied.forward(x), y)
    np.testing.assert_array_equal(copied.backward(np.ones_like(y)), dx)
    np.testing.assert_array_equal(copied.parameters[0].gradient, layer.parameters[0].gradient)
