import numpy as np
import pytest

from distlenet.errors import ConfigError
from distlenet.nn.convolution import PartialConv2d
from distlenet.nn.initialization import initialize

TABLE = [[0, 2], [1], [0, 1, 2], [2]]


@pytest.mark.parametrize("window_after", [(1, 1), (2, 2)])
@pytest.mark.parametrize("n", [1, 3, 16])
def test_backward_is_the_derivative(check_layer, window_after, n):
    check_layer(PartialConv2d(TABLE, 3), (3, 6, 8), n, np.random.default_rng(n), (2, 2), window_after)


def test_is_a_convolution_with_zeros_where_nothing_is_connected(reference):
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
    np.testing.assert_allclose(reference.join(layer.forward(x[None, None])), expected, rtol=1e-10, atol=1e-12)


def test_initial_weights_scale_with_the_inputs_of_each_map(reference):
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
