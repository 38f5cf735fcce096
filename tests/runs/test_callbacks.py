"""Callbacks: functions that the root calls with every event of a run."""

import pytest
from sessions import Session, results, summary, train_run

from distlenet.errors import CallbackError
from distlenet.training.events import CheckpointSaved, EpochDone, RunFinished, RunStarted, SaveRequested, StepDone

SHORT = {"epochs": 2, "batch_size": 64, "train_sample": 50}


def train(digits, run, *callbacks, ranks=1, **options) -> Session:
    flags = {} if "resume" in options else SHORT
    return train_run(digits, run, ranks, flags=flags, callbacks=callbacks, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, digits):
    """An undisturbed run."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(digits, run).expect()
    return run


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_root_calls_every_callback_with_every_event(digits, tmp_path, ranks):
    first, second = [], []
    train(digits, tmp_path / "run", first.append, second.append, ranks=ranks).expect()
    kinds = [type(event) for event in first]
    assert first == second and kinds[0] is RunStarted and kinds[-1] is RunFinished
    assert kinds.count(EpochDone) == 2 and kinds.count(StepDone) == first[-1].summary["steps"]
    assert kinds.index(SaveRequested) < kinds.index(CheckpointSaved)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("kind", [RunStarted, StepDone, EpochDone, CheckpointSaved])
def test_a_callback_that_fails_ends_the_run_once_it_is_saved(digits, whole, tmp_path, kind, ranks):
    """At any event, even the last but one, when only the evaluation of the test images remains."""
    run, calls = tmp_path / "run", []

    def fail(event):
        calls.append(event)
        if isinstance(event, kind) and (kind is not CheckpointSaved or calls[-2].reason == "epoch"):
            raise KeyError("colour")

    session = train(digits, run, fail, ranks=ranks).expect(CallbackError.exit_code, "fail raised KeyError: 'colour'")
    last = run / "checkpoints" / "last.h5"
    assert f"test_callbacks.py, line {fail.__code__.co_firstlineno + 3}) at {kind.__name__}" in session.error
    assert f"the run is saved in {last}" in session.error and last.exists()
    assert isinstance(session.codes[0].__cause__, KeyError) and type(calls[-1]) is kind, "called after its failure"
    assert summary(run)["failure"] == "CallbackError" and "test_accuracy" not in summary(run)

    train(digits, run, resume="auto").expect()
    assert results(run) == results(whole)


def test_a_callback_that_fails_at_the_very_end_leaves_a_complete_run(digits, tmp_path):
    def fail(event):
        if isinstance(event, RunFinished):
            raise SystemExit

    train(digits, tmp_path / "run", fail).expect(CallbackError.exit_code, "fail raised SystemExit", "at RunFinished")
    assert summary(tmp_path / "run")["status"] == "complete"


def test_a_callback_stops_the_run_like_ctrl_c(digits, tmp_path):
    def stop(event):
        if isinstance(event, EpochDone):
            raise KeyboardInterrupt

    train(digits, tmp_path / "run", stop).expect(130)
    assert summary(tmp_path / "run")["status"] == "stopped by SIGINT"


def test_callbacks_need_not_be_copied(digits, tmp_path):
    """Objects that hold a lock or a file can be neither copied nor compared with those of other ranks."""

    class Plot:
        def __init__(self):
            self.events = iter(range(10**6))

        def __call__(self, event):
            next(self.events)

    train(digits, tmp_path / "run", Plot(), ranks=2).expect()
