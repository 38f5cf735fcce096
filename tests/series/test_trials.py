"""Series on pretend ranks: runs that are kept, resumed, and refused."""

import json
from pathlib import Path

import pretend
import pytest

from distlenet.errors import RunDirectoryError
from distlenet.parallel import Serial
from distlenet.runs.experiment import RunOptions
from distlenet.series.outcome import summarize_series
from distlenet.series.trials import Trial, read_outcomes, run_series
from distlenet.training.events import StepDone
from distlenet.training.signals import Signals

FLAGS = {"epochs": 1, "batch_size": 64, "rotate": 0.0, "shift": 0.0, "zoom": 0.0}


def make_trials(data, run, seeds=2, **flags):
    return [
        Trial(
            "short",
            seed,
            RunOptions(data=str(data), run_directory=f"{run}/{seed}", flags=FLAGS | flags | {"seed": seed}),
        )
        for seed in range(1, seeds + 1)
    ]


class StopAfter:
    """Interrupts the series when ``steps`` steps were taken in all."""

    def __init__(self, steps, signals):
        self.left, self.signals = steps, signals

    def on(self, event):
        if isinstance(event, StepDone):
            self.left -= 1
            if self.left == 0:
                self.signals.ask_to_stop()


def run(trials, ranks=1, steps=None):
    """Return the exit code and the reports: (seed, defect, whether it was kept)."""
    told = []

    def job(comm):
        signals = Signals()
        listeners = [StopAfter(steps, signals)] if steps else []
        return run_series(
            trials,
            comm,
            signals,
            lambda trial: listeners,
            lambda outcome, kept: told.append((outcome.seed, outcome.defect, kept)),
        )

    codes = [job(Serial())] if ranks == 1 else pretend.run(ranks, job)
    assert len(set(codes)) == 1
    return codes[0], told


def hashes(trials):
    return [
        json.loads((Path(trial.options.run_directory) / "summary.json").read_text())["theta_sha256"] for trial in trials
    ]


def test_the_same_on_any_number_of_ranks_and_after_an_interruption(digits, tmp_path):
    alone, several = make_trials(digits, tmp_path / "a"), make_trials(digits, tmp_path / "b")
    assert run(alone) == (0, [(1, None, False), (2, None, False)])
    steps = json.loads((tmp_path / "a/1/summary.json").read_text())["steps"]
    assert run(several, ranks=3, steps=steps + 2) == (130, [(1, None, False)])
    assert run(several, ranks=2) == (0, [(1, None, True), (2, None, False)])
    assert hashes(several) == hashes(alone)
    assert len(set(hashes(alone))) == 2
    assert run(several) == (0, [(1, None, True), (2, None, True)])


def test_a_run_of_other_settings_or_data_is_not_taken_for_this_one(digits, other_size, tmp_path):
    run(make_trials(digits, tmp_path, 1))
    with pytest.raises(RunDirectoryError, match="holds a run with lr = 0.14, now 0.1: choose another --run"):
        run(make_trials(digits, tmp_path, 2, lr=0.1))
    assert not (tmp_path / "2").exists()  # refused before anything is trained
    with pytest.raises(RunDirectoryError, match="another dataset than"):
        run(make_trials(other_size, tmp_path, 1), ranks=2)
    assert run(make_trials(digits, tmp_path, 1, train_sample=10))[0] == 0  # does not change the result


def test_defective_runs_are_reported_and_left_out(digits, tmp_path):
    wild = {
        "optimizer": "sgd",
        "lr": 1e30,
        "clip": 0.0,
        "schedule": "constant",
        "weight_decay": 0.0,
        "on_divergence": "stop",
    }
    trials = [
        *make_trials(digits, tmp_path / "good"),
        *(Trial("wild", t.seed, t.options) for t in make_trials(digits, tmp_path / "wild", 1, **wild)),
        *(Trial("still", t.seed, t.options) for t in make_trials(digits, tmp_path / "still", 1, lr=0.0)),
    ]
    expected = [(1, None), (2, None), (1, "non-finite"), (1, "at chance")]
    assert run(trials, ranks=2) == (0, [(*told, False) for told in expected])
    assert run(trials) == (0, [(*told, True) for told in expected])  # they would fail again in the same way
    results = summarize_series(read_outcomes(trials))
    assert [setting["defective"] for setting in results["settings"].values()] == [[], [1], [1]]
    assert results["settings"]["still"]["figures"] == {}
    assert results["settings"]["short"]["figures"]["test_accuracy"]["count"] == 2
    kept = summarize_series(read_outcomes(trials), keep_defective=True)
    assert kept["settings"]["still"]["figures"]["test_accuracy"]["mean"] < 0.3
    json.dumps(kept, allow_nan=False)
