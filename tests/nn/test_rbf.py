import numpy as np
import pytest
from nn import reference

from distlenet.errors import ConfigError
from distlenet.nn.losses import MAPLoss
from distlenet.nn.rbf import RBF, digit_codes


def make(dtype=np.float64, j=10.0, n=3, near=0.0):
    """Return the layer, the loss, inputs (84, n), moved towards the codes by the share ``near``, and labels (n,)."""
    layer, random = RBF(digit_codes()), np.random.default_rng(4)
    layer.dtype = dtype
    layer.connect((84,))
    labels = random.integers(0, 10, n)
    x = (1 - near) * random.uniform(-1.7, 1.7, (84, n)) + near * digit_codes()[labels].T
    return layer, MAPLoss(j), x.astype(dtype), labels


def by_the_book(x, labels, j):
    """Return the loss of each sample: y_D + log(exp(-j) + sum_i exp(-y_i)), one distance at a time."""
    y = ((x[None] - digit_codes()[:, :, None]) ** 2).sum(axis=1)
    rubbish = np.full((1, len(labels)), -j)
    return y[labels, np.arange(len(labels))] + np.logaddexp.reduce(np.concatenate([-y, rubbish]), axis=0)


def test_backward_is_the_derivative():
    reference.check_layer(RBF(digit_codes()), (84,), 5, np.random.default_rng(0))


def test_codes_are_pictures_of_ten_different_digits():
    codes = digit_codes()
    assert codes.shape == (10, 7 * 12)
    assert set(codes.ravel()) == {-1.0, 1.0}
    assert len({tuple(code) for code in codes}) == 10
    apart = ((codes[:, None] - codes[None]) ** 2).sum(axis=2) + 1000 * np.eye(10)
    assert apart.min() >= 16  # at least four pixels


def test_the_best_score_is_the_nearest_code():
    layer, loss, _, _ = make()
    scores = layer.forward(0.9 * digit_codes().T)
    np.testing.assert_array_equal(scores.argmax(axis=0), np.arange(10))
    np.testing.assert_allclose(np.diag(scores), -84 * 0.1**2, rtol=1e-9)
    np.testing.assert_array_less(0.9, np.diag(loss.probabilities(scores)))


@pytest.mark.parametrize("j", [0.0, 1.0, 10.0, 60.0])
@pytest.mark.parametrize("near", [0.0, 0.9, 1.0])
def test_the_loss_is_the_published_one(j, near):
    layer, loss, x, labels = make(j=j, near=near)
    scores = layer.forward(x)
    expected = by_the_book(x, labels, j)
    np.testing.assert_allclose(loss.losses(scores, labels), expected, rtol=1e-10, atol=1e-10)
    total, dscores = loss.loss_and_gradient(scores, labels)
    assert total == pytest.approx(expected.sum())
    p = loss.probabilities(scores)
    assert (p.sum(axis=0) <= 1).all()
    np.testing.assert_allclose(dscores, p - (np.arange(10)[:, None] == labels), atol=1e-12)


def test_far_from_every_code_nothing_overflows():
    layer, loss, x, labels = make(np.float32)
    scores = layer.forward(100 * x)
    assert np.isfinite(loss.losses(scores, labels)).all()
    np.testing.assert_array_equal(loss.probabilities(scores), 0)  # rubbish


@pytest.mark.parametrize("near", [0.0, 0.6, 0.8, 0.95])
def test_curvature_is_the_exact_second_derivative(near):
    layer, loss, x, labels = make(near=near)
    found = layer.curvature(loss.curvature(layer.forward(x))).copy()
    epsilon, expected = 1e-5, np.zeros_like(x)
    for place in np.ndindex(x.shape):
        slopes = []
        for shift in (epsilon, -epsilon):
            moved = x.copy()
            moved[place] += shift
            slopes.append(layer.backward(loss.loss_and_gradient(layer.forward(moved), labels)[1])[place])
        expected[place] = (slopes[0] - slopes[1]) / (2 * epsilon)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_curvature_is_never_negative_in_float32():
    layer, loss, x, _ = make(np.float32, n=50, near=0.97)
    assert (layer.curvature(loss.curvature(layer.forward(x))) >= 0).all()


def test_inputs_of_another_length_are_refused():
    with pytest.raises(ConfigError, match="84 elements"):
        RBF(digit_codes()).connect((80,))
