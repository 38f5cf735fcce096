"""The loss watch: its verdicts on recorded runs, and what it ignores."""

import json
from dataclasses import asdict
from math import log
from pathlib import Path

import pytest

from distlenet.training.loss_watch import DEAD_STEPS, SPIKE_STEPS, LossWatch

# losses of 430 steps each: SGD at a constant 0.5, weights N(0, 0.1), MNIST, several seeds
CURVES = json.loads(Path(__file__).with_name("curves.json").read_text())


def watched(losses, watch=None):
    """Return the first verdict and the number of steps until then, or (None, number of all steps)."""
    watch = watch or LossWatch(log(10))
    for steps, loss in enumerate(losses, 1):
        watch.add(loss)
        if watch.verdict:
            return watch.verdict, steps
    return None, len(losses)


@pytest.mark.parametrize(
    ("name", "verdict", "steps"),
    [
        ("dead", "dead", 300),
        ("dead after a loss of 3e23", "dead", 300),
        ("spike", "spike", 351),
        ("short spikes", None, 430),
        ("a plateau of a hundred steps", None, 430),
        ("good", None, 430),
    ],
)
def test_recorded_runs(name, verdict, steps):
    assert watched(CURVES[name]) == (verdict, steps)


@pytest.mark.parametrize("cut", [1, 120, 299, 330])
@pytest.mark.parametrize("name", CURVES)
def test_a_stored_watch_continues(name, cut):
    watch, losses = LossWatch(log(10)), CURVES[name]
    verdict, steps = watched(losses[:cut], watch)
    if verdict is None:
        verdict, more = watched(losses[cut:], LossWatch(**json.loads(json.dumps(asdict(watch)))))
        steps += more
    assert (verdict, steps) == watched(losses)


def test_wild_steps_are_forgotten():
    wild = [*CURVES["good"][:300], *[1e30] * 5, *CURVES["good"][300:]]
    assert watched(wild)[0] is None
    assert watched([0.1] * 100 + [3.0, 0.1] * 400)[0] is None  # every other step
    assert watched([0.1] * 100 + [3.0] * (SPIKE_STEPS - 1) + [0.1] * 100)[0] is None
    assert watched([0.1] * 100 + [3.0] * SPIKE_STEPS) == ("spike", 100 + SPIKE_STEPS)


def test_a_bad_start_is_not_a_spike():
    watch = LossWatch(log(10))
    assert watched([300 * 0.99**step + 0.5 for step in range(1000)], watch) == ("dead", DEAD_STEPS)
    assert not watch.wild  # so it is left alone if the network is alive


def test_patience():
    watch = LossWatch(log(10))
    assert watched([2.3] * DEAD_STEPS, watch) == ("dead", DEAD_STEPS)
    assert not watch.calm
    watch.be_patient()
    assert watch.verdict is None
    for step in range(2 * DEAD_STEPS):
        assert watch.verdict is None and not watch.calm, step  # a state to go back to must have learned something
        watch.add(2.3, 0.1)
    assert watch.verdict == "dead"


def test_wild_is_worse_than_guessing_and_than_before():
    watch = LossWatch(log(10))
    watched([2.4] * 50, watch)
    assert not watch.wild
    watched([3.4] * 200, watch)
    assert watch.wild
    falling = LossWatch(log(10))
    watched([50 - 0.1 * step for step in range(DEAD_STEPS)], falling)
    assert not falling.wild


def test_calm():
    watch = LossWatch(log(10))
    watched([2.31], watch)
    assert not watch.calm  # it has not learned anything yet
    watched([0.2] * 100, watch)
    assert watch.calm
    watched([4.0], watch)
    assert not watch.calm
    watched([0.2], watch)
    assert watch.calm


def test_a_high_loss_with_a_high_accuracy_is_not_guessing():
    watch = LossWatch(log(10))
    for _ in range(2 * DEAD_STEPS):
        watch.add(5.0, accuracy=0.6)
    assert watch.verdict is None
    for _ in range(DEAD_STEPS):
        watch.add(5.0, accuracy=0.11)
    assert watch.verdict is None  # the accuracy fades first
    for _ in range(200):
        watch.add(5.0, accuracy=0.11)
    assert watch.verdict == "dead"
