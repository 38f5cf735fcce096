"""Memory: once warm, a training step takes almost none, and a finished run takes none."""

import gc
import tracemalloc
import weakref

import numpy as np
import pretend
import pytest

from distlenet.bench.workload import Workload
from distlenet.config import Config
from distlenet.errors import DistlenetError
from distlenet.parallel import Serial
from distlenet.runs import session
from distlenet.runs.experiment import RunOptions
from distlenet.series.trials import Trial, run_series
from distlenet.training.events import StepDone
from distlenet.training.signals import Signals

ROOM = 96 * 1024  # bytes: numpy takes up to two buffers of 8,192 numbers while it adds views
EPOCH = 16  # steps, of whole leaves
WARM = 250  # steps: the record of the last 200 is full, the images are learned, a state to go back to is there
SMALL = {"batch_size": 64, "train_sample": 50}


@pytest.mark.parametrize("settings", [{}, {"rotate": 0.0, "shift": 0.0, "zoom": 0.0}], ids=["augmented", "plain"])
def test_a_hundred_steps_take_no_more_memory(settings):
    running = Workload(Serial(), Config(batch_size=64, **settings), images=EPOCH * 64).steps()
    tracemalloc.start()
    try:
        for _ in range(WARM):
            next(running)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(100):
            next(running)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < ROOM


CASES = {
    "complete": ({"epochs": 1}, 0),
    "streamed": ({"epochs": 1, "memory_limit": 0, "average": 0.9}, 0),
    "not finite": ({"epochs": 1, "init": "normal", "sigma": 1e30}, 8),
    "healed, then given up": ({"epochs": 3, "lr": 1e30, "clip": 0.0, "max_heals": 1}, 8),
    "stopped": ({"epochs": 1}, 130),
}


class Interrupting:
    """A listener that stops the run after some steps, if it is to be stopped."""

    def __init__(self, signals, stops):
        self._signals, self._stops = signals, stops

    def on(self, event):
        if self._stops and isinstance(event, StepDone) and event.step == 3:
            self._signals.ask_to_stop()


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_a_finished_run_is_let_go(digits, tmp_path, monkeypatch, case, ranks):
    """Without the garbage collector: a series of wide networks would fill the memory before it comes round."""
    flags, code = CASES[case]
    alive, real = [], session.set_up

    def watched(*arguments):
        experiment = real(*arguments)
        state = experiment.state
        alive.extend(weakref.ref(one) for one in (state, state.net.theta, state.optimizer.decay, experiment.leaves))
        return experiment

    def job(comm):
        signals = Signals()
        options = RunOptions(str(digits), str(tmp_path / "run"), flags=SMALL | flags)
        running = session.Session(options, comm, signals, lambda: [Interrupting(signals, case == "stopped")])
        try:
            return running.run()
        except DistlenetError as error:
            return error.exit_code

    monkeypatch.setattr(session, "set_up", watched)
    gc.collect()
    gc.disable()
    try:
        with np.errstate(all="ignore"):
            codes = [job(Serial())] if ranks == 1 else pretend.run(ranks, job)
        left = [one() for one in alive if one() is not None]
    finally:
        gc.enable()
    assert codes == [code] * ranks and len(alive) == 4 * ranks
    assert not left


def test_six_runs_of_a_series_take_the_memory_of_one(digits, tmp_path):
    trials = [
        Trial(
            "wide", seed, RunOptions(str(digits), str(tmp_path / str(seed)), flags=SMALL | {"epochs": 1, "seed": seed})
        )
        for seed in range(6)
    ]
    taken = []

    def tell(outcome, kept):
        taken.append(tracemalloc.get_traced_memory()[0])

    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        assert run_series(trials, Serial(), Signals(), lambda trial: [], tell) == 0
    finally:
        tracemalloc.stop()
        gc.enable()
    assert len(taken) == 6
    assert taken[-1] - taken[1] < 61_706 * 4  # bytes: not even the parameters of one of them
