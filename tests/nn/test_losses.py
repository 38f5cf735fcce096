import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nn import reference

from distlenet.nn.losses import SoftmaxCrossEntropy

QUICK = settings(derandomize=True, deadline=None, max_examples=200)


def draw(classes, n, spread, seed, dtype=np.float64):
    random = np.random.default_rng(seed)
    return (spread * random.normal(size=(classes, n))).astype(dtype), random.integers(0, classes, n)


@QUICK
@given(
    classes=st.integers(1, 47),
    n=st.sampled_from([1, 3, 32]),
    spread=st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e4]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 999),
)
def test_equals_log_sum_exp(classes, n, spread, dtype, seed):
    logits, labels = draw(classes, n, spread, seed, dtype)
    kept, loss = logits.copy(), SoftmaxCrossEntropy()
    tolerance = 1e-5 if dtype is np.float32 else 1e-12
    expected = reference.losses(logits.astype(np.float64), labels)
    found, gradient = loss.loss_and_gradient(logits, labels)
    each, softmax = loss.losses(logits, labels), loss.probabilities(logits)
    assert gradient.dtype == softmax.dtype == dtype
    np.testing.assert_array_equal(logits, kept)
    np.testing.assert_allclose(each, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found, expected.sum(), rtol=tolerance, atol=tolerance * n)
    np.testing.assert_allclose(softmax.sum(axis=0), 1, rtol=0, atol=tolerance)
    np.testing.assert_allclose(gradient.sum(axis=0), 0, rtol=0, atol=tolerance)
    hot = np.arange(classes)[:, None] == labels
    shifted = logits.astype(np.float64) - logits.max(axis=0)
    exact = np.exp(shifted - np.logaddexp.reduce(shifted, axis=0)) - hot
    np.testing.assert_allclose(gradient, exact, rtol=0, atol=tolerance)


@QUICK
@given(n=st.sampled_from([1, 3, 32]), seed=st.integers(0, 999))
def test_gradient_is_the_derivative(n, seed):
    (logits, labels), loss = draw(10, n, 2.0, seed), SoftmaxCrossEntropy()
    _, gradient = loss.loss_and_gradient(logits, labels)
    for place in np.random.default_rng(seed).permutation(logits.size)[:20]:
        step = np.zeros_like(logits)
        step.flat[place] = 1e-5
        above, below = (loss.losses(logits + sign * step, labels).sum() for sign in (1, -1))
        assert gradient.flat[place] == pytest.approx((above - below) / 2e-5, abs=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_large_logits_give_large_finite_losses(size, dtype):
    logits = np.array([[size, -size, 0], [-size, size, 0]], dtype)
    labels = np.array([0, 0, 1])
    found, gradient = SoftmaxCrossEntropy().loss_and_gradient(logits, labels)
    np.testing.assert_allclose(found, 2 * size + np.log(2), rtol=1e-6)
    np.testing.assert_allclose(gradient, [[0, -1, 0.5], [0, 1, -0.5]], rtol=0, atol=1e-6)
    np.testing.assert_allclose(SoftmaxCrossEntropy().probabilities(logits)[0], [1, 0, 0.5], rtol=0, atol=1e-6)


def test_loss_and_gradient_are_sums_over_the_samples():
    (logits, labels), loss = draw(10, 30, 3.0, 0), SoftmaxCrossEntropy()
    whole, gradient = loss.loss_and_gradient(logits, labels)
    parts = [loss.loss_and_gradient(logits[:, cut], labels[cut]) for cut in (np.s_[:7], np.s_[7:8], np.s_[8:])]
    assert sum(value for value, _ in parts) == pytest.approx(whole, rel=1e-13)
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts], axis=1), gradient)


def test_nan_is_not_hidden():
    logits = np.zeros((10, 2), np.float32)
    logits[3, 1] = np.nan
    assert np.isnan(SoftmaxCrossEntropy().loss_and_gradient(logits, np.array([0, 0]))[0])


def test_smoothing_spreads_a_share_of_each_label():
    (logits, labels), loss = draw(10, 30, 3.0, 0), SoftmaxCrossEntropy(0.2)
    found, gradient = loss.loss_and_gradient(logits, labels)
    targets = 0.8 * np.eye(10)[:, labels] + 0.02
    probabilities = loss.probabilities(logits)
    assert found == pytest.approx(-(targets * np.log(probabilities)).sum(), rel=1e-12)
    np.testing.assert_allclose(gradient, probabilities - targets, rtol=0, atol=1e-12)
    plain = SoftmaxCrossEntropy()
    np.testing.assert_array_equal(loss.losses(logits, labels), plain.losses(logits, labels))  # evaluation
