"""Learning-rate schedules: pure functions of the step, so that a resumed run needs only its position."""

from collections.abc import Callable
from math import pi

from distlenet.arithmetic import NATIVE, Arithmetic, choose
from distlenet.config import Config

Schedule = Callable[[int], float]


def constant(peak: float) -> Schedule:
    """The rate never changes."""
    return lambda step: peak


def step_decay(
    peak: float,
    steps: int,
    milestones: tuple[float, ...] = (0.6, 0.85),
    gamma: float = 0.1,
    arithmetic: Arithmetic = NATIVE,
) -> Schedule:
    """Multiply the rate by ``gamma`` after each milestone, a share (0 to 1) of all ``steps``."""
    return lambda step: peak * arithmetic.power(gamma, sum(step >= share * steps for share in milestones))


def inverse_time(peak: float, decay: float) -> Schedule:
    """peak / (1 + decay * step): the 1/t rule of stochastic approximation (Robbins and Monro 1951)."""
    return lambda step: peak / (1 + decay * step)


def cosine(peak: float, steps: int, arithmetic: Arithmetic = NATIVE) -> Schedule:
    """Half a cosine wave from ``peak`` to 0 over ``steps`` (Loshchilov and Hutter 2017, without restarts)."""
    return lambda step: peak * 0.5 * (1 + arithmetic.cosine(pi * step / steps))


def one_cycle(peak: float, steps: int, warmup: float = 0.15, start: float = 0.04) -> Schedule:
    """Linear from ``start * peak`` to ``peak`` over the first share ``warmup`` of ``steps``, then linear to 0.

    After Smith and Topin 2018.
    """
    rise = warmup * steps

    def rate(step: int) -> float:
        if step < rise:
            return peak * (start + (1 - start) * step / rise)
        return peak * max(0.0, (steps - step) / (steps - rise))

    return rate


def published(peak: float, steps: int, warmup: float = 0.01) -> Schedule:
    """The rates of LeCun et al. 1998 relative to their first: 1 for 2 of 20 passes, then 0.4, 0.2, 0.1, 0.02.

    The paper's rates were 5e-4 for 2 passes, 2e-4 for 3, 1e-4 for 3, 5e-5 for 4, 1e-5 for the rest; here they apply to
    the same shares of ``steps``. The paper had no warm-up. Here the rate first rises linearly to ``peak``, over the
    share ``warmup`` of ``steps``.
    """

    def rate(step: int) -> float:
        passes = 20 * step / steps
        level = next((level for until, level in ((2, 1), (5, 0.4), (8, 0.2), (12, 0.1)) if passes < until), 0.02)
        return peak * min(level, (step + 1) / (warmup * steps + 1))

    return rate


SCHEDULES: dict[str, Callable[[Config, int], Schedule]] = {  # the steps are those of the whole run
    "constant": lambda config, steps: constant(config.lr),
    "step": lambda config, steps: step_decay(config.lr, steps, arithmetic=choose(config.numerics)),
    "inverse-time": lambda config, steps: inverse_time(config.lr, config.decay),
    "cosine": lambda config, steps: cosine(config.lr, steps, choose(config.numerics)),
    "one-cycle": lambda config, steps: one_cycle(config.lr, steps, config.warmup),
    "published": lambda config, steps: published(config.lr, steps, config.warmup),
}
