"""Mean, spread and confidence interval of a few runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Student's t: the two-sided 95 % quantile for 1 to 30 degrees of freedom, as every textbook lists it.
STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
NORMAL = 1.959964  # of the normal distribution


@dataclass(frozen=True)
class Spread:
    """One figure over several runs."""

    mean: float
    deviation: float | None  # sample standard deviation (n - 1); None for a single run
    interval: float | None  # half the width of the 95 % confidence interval of the mean; None for a single run
    least: float
    most: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Return the figures of ``values``, of which there is at least one."""
    count = len(values)
    mean = math.fsum(values) / count
    deviation = interval = None
    if count > 1:
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
        interval = student(count - 1) * deviation / math.sqrt(count)
    return Spread(mean, deviation, interval, min(values), max(values), count)


def student(freedom: int) -> float:
    """Return the two-sided 95 % quantile of Student's t for ``freedom`` (>= 1) degrees of freedom."""
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    z = NORMAL  # beyond the table two terms of its expansion in 1 / freedom are exact to four digits
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
