import re
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distlenet.config import Config
from distlenet.errors import ConfigError
from distlenet.nn.rules import build_schedule
from distlenet.nn.schedules import SCHEDULES, cosine, inverse_time, one_cycle, step_decay

QUICK = settings(derandomize=True, deadline=None, max_examples=60)


def build(name, peak, steps, **others):
    return build_schedule(Config(schedule=name, lr=peak, **others), steps)


def rates(schedule, steps):
    return np.array([schedule(step) for step in range(steps)])


def test_constant():
    assert set(rates(build("constant", 0.3, 50), 50)) == {0.3}


def test_step_decay_falls_at_its_milestones():
    schedule = step_decay(1.0, 100, milestones=(0.5, 0.8), gamma=0.1)
    assert [schedule(step) for step in (0, 49, 50, 79, 80, 99)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    named = build("step", 2.0, 100)
    assert [named(step) for step in (59, 60, 84, 85)] == pytest.approx([2, 0.2, 0.2, 0.02])


def test_inverse_time():
    schedule = inverse_time(0.5, 0.01)
    assert [schedule(step) for step in (0, 100, 300)] == pytest.approx([0.5, 0.25, 0.125])
    assert build("inverse-time", 0.5, 10, decay=0.01)(100) == pytest.approx(0.25)


def test_cosine():
    schedule = cosine(0.8, 100)
    assert [schedule(step) for step in (0, 25, 50, 100)] == pytest.approx([0.8, 0.4 * (1 + 2**-0.5), 0.4, 0], abs=1e-15)


def test_one_cycle():
    schedule = one_cycle(2.0, 200, warmup=0.25, start=0.1)
    found = [schedule(step) for step in (0, 25, 50, 125, 200, 300)]
    assert found == pytest.approx([0.2, 1.1, 2.0, 1.0, 0.0, 0.0], abs=1e-15)  # never below zero


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_one_cycle_may_rise_at_once_or_to_the_end(warmup):
    found = rates(build("one-cycle", 1.0, 50, warmup=warmup), 50)
    assert np.isfinite(found).all()
    assert found.argmax() == (0 if warmup == 0 else 49)


@pytest.mark.parametrize("name", SCHEDULES)
@QUICK
@given(
    steps=st.integers(1, 400),
    peak=st.floats(1e-4, 2),
    warmup=st.floats(0, 1),
    decay=st.floats(0, 0.1),
    order=st.randoms(use_true_random=False),
)
def test_rates_are_positive_bounded_and_pure(name, steps, peak, warmup, decay, order):
    schedule = build(name, peak, steps, warmup=warmup, decay=decay)
    found = rates(schedule, steps)
    assert (found > 0).all() and found.max() <= peak * (1 + 1e-12)
    top = found.argmax()
    assert (np.diff(found[: top + 1]) >= 0).all() and (np.diff(found[top:]) <= 0).all()  # one peak
    asked = order.sample(range(steps), steps)
    again = build(name, peak, steps, warmup=warmup, decay=decay)
    assert [again(step) for step in asked] == [found[step] for step in asked]
    if name not in ("one-cycle", "published"):
        assert found[0] == peak


class Noting:
    """A configuration that notes which settings are read."""

    def __init__(self, config):
        self.config, self.read = config, set()

    def __getattr__(self, name):
        self.read.add(name)
        return getattr(self.config, name)


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_setting_that_a_schedule_reads_changes_its_rates(name):
    config = Config(schedule=name)
    found = rates(build_schedule(config, 50), 50)
    noting = Noting(config)
    SCHEDULES[name](noting, 50)
    assert "lr" in noting.read
    for setting in noting.read - {"numerics"}:
        value = getattr(config, setting)
        changed = replace(config, **{setting: type(value)(value / 2)})
        assert (rates(build_schedule(changed, 50), 50) != found).any(), setting
    for field in fields(Config):  # the help: "for one-cycle and published: share of ..."
        if re.match(rf"for [^:]*\b{name}\b", field.metadata["help"]):
            assert field.name in noting.read


def test_published():
    schedule = build("published", 5.0, 2000, warmup=0.0)  # 100 steps a pass, in units of 1e-4
    found = [schedule(100 * number + 50) for number in range(20)]
    assert found == pytest.approx([5] * 2 + [2] * 3 + [1] * 3 + [0.5] * 4 + [0.1] * 8)
    assert schedule(199) > schedule(200)
    risen = build("published", 5.0, 2000, warmup=0.02)
    assert [risen(step) for step in (0, 20, 40, 41)] == pytest.approx([5 / 41, 5 * 21 / 41, 5, 5])


def test_an_unknown_schedule_suggests_the_nearest():
    with pytest.raises(ConfigError, match="'onecycle' is unknown .did you mean 'one-cycle'"):
        build("onecycle", 0.1, 10)
