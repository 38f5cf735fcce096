"""Post-mortems of networks with known faults."""

import types

import numpy as np
import pytest
from checkpoints import new_state

from distlenet.runs.writer import in_words
from distlenet.training.postmortem import IMAGES, STEPS, Recorder, examine, findings

RECORD = {"kind": "dead", "action": "stopped"}


class SomeLeaves:
    """Stands in for a rank's leaves: 10 pictures of noise a step."""

    plan = types.SimpleNamespace(steps_per_epoch=20)
    shards = (3,)

    def load(self, epoch, step, shard):
        """See Leaves."""
        assert shard == 3
        random = np.random.default_rng(100 * epoch + step)
        return random.standard_normal((1, 28, 28, 10)).astype(np.float32), np.zeros(10, int)


@pytest.fixture
def state():
    return new_state()


def report_of(state, recorder=None):
    before = state.net.theta.copy()
    with np.errstate(all="ignore"):
        report = examine(state, SomeLeaves(), recorder or Recorder())
    np.testing.assert_array_equal(state.net.theta, before)
    assert all(finding in in_words(RECORD, "it died", report) for finding in report["findings"])
    return report


def test_a_healthy_network(state):
    report = report_of(state)
    assert IMAGES <= report["images"] < IMAGES + 10
    assert not report["blind"]
    assert report["findings"] == ["all figures are normal"]


def test_dead_units(state):
    state.net.parameters["C3/b"].value[:] = -1000
    report = report_of(state)
    assert report["blind"]
    assert report["findings"][0].startswith("the network has gone blind")
    assert "C3.activation: 16 of 16 units are dead, zero for every image (0 in the good state)" in report["findings"]


def test_a_dying_network(state):
    state.net.parameters["C5/W"].value *= 1e-3  # the outputs still differ, a thousandth as much as before
    assert report_of(state)["blind"]
    state.good.vectors["theta"][:] = state.net.theta  # as if it had been initialised so
    report = report_of(state)
    assert not report["blind"]
    assert any("the weights are too small" in finding for finding in report["findings"])


def test_explosion(state):
    recorder, gradient = Recorder(), np.full(state.net.size, 1e-3, np.float32)
    for step in range(STEPS + 60):
        state.progress.steps = step
        if step == STEPS + 50:
            gradient[:156] *= 1e6  # C1's part
        recorder.note(state, 2.0, gradient)
    state.net.parameters["C1/W"].value *= 1e20  # its square overflows float32
    report = report_of(state, recorder)
    assert (report["steps"][0], report["steps"][-1], len(report["loss"])) == (60, STEPS + 59, STEPS)
    found = " ".join(report["findings"])
    assert "gradients exploded; their norms: C1/W up to 1.2e+04 (usually 0.012)" in found
    assert "weights grew; their norms: C1/W from " in found


def test_parameters_that_no_gradient_reaches(state):
    recorder, gradient = Recorder(), np.ones(state.net.size, np.float32)
    gradient[:150] = 0
    for _ in range(12):
        recorder.note(state, 2.3, gradient)
    assert any("no gradient reaches C1/W:" in text for text in report_of(state, recorder)["findings"])


def test_a_state_that_was_never_finite(state):
    state.net.theta *= np.float32(1e30)
    state.good.vectors["theta"][:] = state.net.theta  # before the first step the good state is the initial one
    report = report_of(state)
    assert report["good"]["spread"] is None and not report["blind"]
    assert any("even in the good state, after 0 steps" in text and "not finite" in text for text in report["findings"])


def test_infinite_gradients_do_not_count_as_missing(state):
    recorder, gradient = Recorder(), np.full(state.net.size, np.inf, np.float32)
    for _ in range(12):
        recorder.note(state, 2.3, gradient)
    found = report_of(state, recorder)["findings"]
    assert not any("no gradient reaches" in text for text in found)
    assert any("gradients exploded" in text for text in found)


@pytest.mark.parametrize("seed", range(8))
def test_a_post_mortem_is_written_whichever_figures_are_unknown(state, seed):
    recorder = Recorder()
    for _ in range(12):
        recorder.note(state, 2.3, np.ones(state.net.size, np.float32))
    report, random = report_of(state, recorder), np.random.default_rng(seed)

    def spoil(value):
        """Replace some of the figures by None, which stands for NaN and infinity, or by extremes."""
        if isinstance(value, dict):
            return {name: spoil(one) for name, one in value.items()}
        if isinstance(value, list):
            return [spoil(one) for one in value]
        if isinstance(value, float) and random.random() < 0.1 + 0.2 * (seed % 4):
            return [None, 0.0, 1e300, -1e300, 1e-300][random.integers(5 if seed < 4 else 1)]
        return value

    for _ in range(20):
        spoiled = spoil(report)
        spoiled["findings"] = findings(spoiled)
        assert in_words(RECORD, "it died", spoiled).endswith("\n")
