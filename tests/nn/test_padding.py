import numpy as np
import pytest

from distlenet.errors import ConfigError
from distlenet.nn.pooling import Pad2d


@pytest.mark.parametrize("phases", [(1, 1), (2, 2), (1, 2)])
@pytest.mark.parametrize("n", [1, 3])
def test_backward_is_the_derivative(check_layer, phases, n):
    check_layer(Pad2d(2, -0.1), (2, 4, 6), n, np.random.default_rng(n), phases)


@pytest.mark.parametrize("phases", [(1, 1), (2, 2)])
def test_a_border_of_one_value(reference, phases):
    layer, random = Pad2d(2, -0.1), np.random.default_rng(0)
    reference.connect(layer, (2, 4, 6), random)
    x = random.normal(size=(2, 4, 6, 3))
    expected = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=-0.1)
    for _ in range(2):
        padded = layer.forward(reference.split(x, phases))
        np.testing.assert_array_equal(reference.join(padded), expected)
        padded *= 2  # as a layer would that works in place


def test_vectors_are_refused():
    with pytest.raises(ConfigError, match="pictures"):
        Pad2d(2).connect((84,))
