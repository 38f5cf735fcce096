import math

import numpy as np
import pytest

from distlenet.series.outcome import STUDENT, spread, student


def probability(t, freedom):
    """Return P(|T| < t) by adding up Student's density."""
    x = np.linspace(-t, t, 400_001)
    density = (1 + x**2 / freedom) ** (-(freedom + 1) / 2)
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    return scale * float(np.trapezoid(density, x))


@pytest.mark.parametrize("freedom", [*range(1, len(STUDENT) + 1), 31, 40, 60, 200, 10_000])
def test_quantiles_hold_95_percent(freedom):
    assert probability(student(freedom), freedom) == pytest.approx(0.95, abs=6e-5)  # three decimals


def test_spread():
    found = spread([0.98, 0.99, 0.97, 0.98])
    assert (found.mean, found.least, found.most, found.count) == (pytest.approx(0.98), 0.97, 0.99, 4)
    assert found.deviation == pytest.approx(np.std([0.98, 0.99, 0.97, 0.98], ddof=1))
    assert found.interval == pytest.approx(3.182 * found.deviation / 2)


def test_one_run_has_no_spread():
    found = spread([5.0])
    assert (found.mean, found.deviation, found.interval, found.count) == (5.0, None, None, 1)
