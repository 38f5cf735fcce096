import numpy as np

from distlenet.training.metrics import accuracy, per_class


def test_figures_of_a_small_matrix():
    confusion = np.array([[3, 1, 0], [0, 4, 0], [1, 1, 0]])
    assert accuracy(confusion) == 0.7
    figures = per_class(confusion)
    np.testing.assert_allclose(figures["precision"], [3 / 4, 4 / 6, 0])
    np.testing.assert_allclose(figures["recall"], [3 / 4, 1, 0])
    np.testing.assert_allclose(figures["f1"], [3 / 4, 0.8, 0])
    np.testing.assert_array_equal(figures["support"], [4, 4, 2])
    assert all(values.dtype == np.float64 for values in figures.values())


def test_undefined_is_zero():
    empty = np.zeros((4, 4), np.int64)
    assert accuracy(empty) == 0
    for values in per_class(empty).values():
        np.testing.assert_array_equal(values, np.zeros(4))


def test_f1_is_the_harmonic_mean():
    confusion = np.random.default_rng(1).integers(1, 50, (10, 10))
    figures = per_class(confusion)
    p, r = figures["precision"], figures["recall"]
    np.testing.assert_allclose(figures["f1"], 2 * p * r / (p + r))
