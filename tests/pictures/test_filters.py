"""Filters against their definitions."""

import numpy as np
import pytest

from distlenet.pictures.filters import closing, max_filter, mean_filter, resized

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("window", [(1, 1), (3, 3), (5, 1), (1, 9), (13, 27)])
@pytest.mark.parametrize("kind", [np.float32, bool])
def test_max_filter(window, kind):
    grey = (RNG.random((17, 23)) > 0.9).astype(kind) if kind is bool else RNG.random((17, 23), np.float32)
    down, right = (size // 2 for size in window)
    expected = [
        [grey[max(0, r - down) : r + down + 1, max(0, c - right) : c + right + 1].max() for c in range(23)]
        for r in range(17)
    ]
    assert (max_filter(grey, window) == np.array(expected)).all()


@pytest.mark.parametrize("window", [3, 5, 31])
def test_mean_filter(window):
    grey = RNG.random((17, 23, 2))
    half = window // 2
    framed = np.pad(grey, ((half, half), (half, half), (0, 0)), mode="edge")
    expected = [[framed[r : r + window, c : c + window].mean(axis=(0, 1)) for c in range(23)] for r in range(17)]
    np.testing.assert_allclose(mean_filter(grey, window), expected, rtol=1e-5)


def test_closing_fills_strokes_and_keeps_steps():
    step = np.where(np.arange(40) < 20, 0.9, 0.4) * np.ones((40, 1))
    stroke = step.copy()
    stroke[5:35, 8:11] = stroke[5:35, 30:33] = 0.1
    np.testing.assert_array_equal(closing(stroke, 9), step)


def test_resized_keeps_the_mean():
    grey = RNG.random((60, 80))
    assert resized(grey, (15, 20)).mean() == pytest.approx(grey.mean(), rel=0.02)
