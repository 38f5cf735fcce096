"""Verification: honest runs of every kind pass, forgeries are refused, and other numerics are not judged."""

import json
import random
import shutil
import signal
import sys
from pathlib import Path

import drawn
import mortal
import mpi_jobs
import pytest
import sessions
from runs import forgeries

from distlenet import numerics
from distlenet.errors import DataError
from distlenet.parallel import Serial
from distlenet.runs import verification
from distlenet.runs.experiment import RunOptions
from distlenet.training.signals import Signals

FLAGS = {"batch_size": 64, "epochs": 3, "train_sample": 50, "validation": 60, "model": "single-conv-pool"}


@pytest.fixture(scope="module")
def few(once) -> Path:
    """300 drawn digits: 4 steps an epoch."""
    return once("few.h5", lambda path: drawn.write(path, 300, 90))


@pytest.fixture(scope="module")
def honest(few, tmp_path_factory) -> Path:
    """A run of three epochs; its checkpoints are kept."""
    return train(few, tmp_path_factory.mktemp("honest") / "run")


@pytest.fixture(scope="module")
def other(once, tmp_path_factory) -> Path:
    """A run on another dataset of the same kind."""
    data = once("others.h5", lambda path: drawn.write(path, 320, 90))
    return train(data, tmp_path_factory.mktemp("other") / "run", more={"seed": 5})


def train(data, run, ranks=1, more=(), code=0, **options):
    asked = {"flags": FLAGS | dict(more)} if "resume" not in options else {}
    sessions.train_run(data, run, ranks, **({"log_every": 1, "keep_every": 1} | asked | options)).expect(code)
    return run


def verify(data, run, samples=None, comm=None):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    options = RunOptions(data=str(data), run_directory=str(run))
    certificate = verification.verify(options, samples, comm or Serial(), Signals())
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before  # nothing is written
    return certificate


def verified(data, run):
    certificate = verify(data, run)
    assert certificate["verdict"] == "verified", certificate["sentence"]
    assert not certificate["faults"]
    return certificate


def test_the_certificate(honest, few):
    certificate = verified(few, honest)
    summary = sessions.summary(honest)
    assert json.loads(json.dumps(certificate)) == certificate
    assert certificate["theta_sha256"] == summary["theta_sha256"]
    assert certificate["dataset"]["fingerprint"] == summary["fingerprint"]
    assert certificate["settings"]["seed"] == 1
    assert certificate["numerics"]["here"] == numerics.numerics()
    assert [stretch["stretch"] for stretch in certificate["stretches"]] == [
        "the start to step 4",
        "step 4 to step 8",
        "step 8 to step 12",
    ]
    names = {"config.toml", "journal.jsonl", "summary.json", "checkpoints/last.h5", "checkpoints/epoch-0002.h5"}
    assert names < certificate["files"].keys()
    assert "all 3 stretches end in the same bits, on the same numerics (native)" in certificate["sentence"]


def test_samples_state_the_odds(honest, few):
    certificate = verify(few, honest, samples=1)
    assert certificate["verdict"] == "verified in samples"
    assert sorted(stretch["verdict"] for stretch in certificate["stretches"]) == 2 * ["not sampled"] + ["same bits"]
    assert certificate["odds_of_missing_one"] == 1 - 1 / 3
    assert certificate["sentence"].endswith("a single forged stretch is missed with a probability of 67%")
    seen = set()
    for _ in range(50):  # drawn at random: not the same one every time
        (place,) = [place for place, each in enumerate(certificate["stretches"]) if each["verdict"] == "same bits"]
        seen.add(place)
        if len(seen) > 1:
            break
        certificate = verify(few, honest, samples=1)
    assert len(seen) > 1


@pytest.mark.parametrize(
    "more",
    [
        {"validation": 0, "average": 0.9},
        {"optimizer": "adam", "lr": 0.001, "memory_limit": 0, "test_curve": True},
        {"model": "lenet5-1998", "optimizer": "levenberg-marquardt", "lr": 0.001, "clip": 0.0, "init": "fan-in"},
        {"lr": 50.0, "clip": 0.0, "max_heals": 30, "schedule": "constant"},
    ],
    ids=["average", "streamed", "curvature", "healing"],
)
def test_runs_of_many_kinds(few, tmp_path, more):
    run = train(few, tmp_path / "run", ranks=2, more=more)
    assert bool(sessions.summary(run)["divergences"]) == (more.get("max_heals") == 30)
    verified(few, run)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_resumed_runs(honest, few, tmp_path, how):
    run = tmp_path / "run"
    if how == "stopped":
        sessions.parts(few, run, FLAGS, (2, 6), (1, 9), (3, None))
    else:
        train(few, run, 2, save_steps=3, act=sessions.fail_at(8), code=3)
        train(few, run, resume="auto")
    assert verified(few, run)["theta_sha256"] == sessions.summary(honest)["theta_sha256"]


def test_a_run_that_was_killed(few, tmp_path):
    run = train(few, tmp_path / "run", save_steps=3, act=sessions.fail_at(8), code=3)
    certificate = verified(few, run)
    assert "the run has not ended" in certificate["notes"][0]
    train(few, run, resume="auto", act=sessions.stop_after(9), code=130)
    train(few, run, resume="auto", act=sessions.fail_at(11), code=3)  # its summary is of an earlier moment
    stretches = verified(few, run)["stretches"]
    assert "step 10" in stretches[-1]["stretch"] or any("step 10" in stretch["stretch"] for stretch in stretches)


def test_lost_ranks(honest, few, tmp_path):
    run = train(few, tmp_path / "run", mortals=mortal.Job(3, {2: 300, 0: 400}))
    assert verified(few, run)["theta_sha256"] == sessions.summary(honest)["theta_sha256"]


def test_a_run_that_failed(few, tmp_path):
    run = train(few, tmp_path / "run", more={"lr": 1e30, "clip": 0.0, "max_heals": 1}, code=8)
    certificate = verified(few, run)
    assert sessions.summary(run)["failure"] == "NonFiniteError"
    assert certificate["stretches"][-1]["files"] == []
    forgeries.edit_summary(run, lr_factor=1.0)
    assert verify(few, run)["verdict"] == "refused"


def test_a_fault_of_the_machine_is_found(few, tmp_path):
    def flip(rank, state, signals):
        if state.progress.steps == 6:
            state.net.theta.view("u4")[100] ^= 1

    run = train(few, tmp_path / "run", act=flip)
    certificate = verify(few, run)
    assert certificate["verdict"] == "refused"
    assert [stretch["verdict"] for stretch in certificate["stretches"]] == ["same bits", "differs", "same bits"]


@pytest.mark.parametrize("kind", forgeries.KINDS)
def test_forgeries_are_refused(honest, other, few, tmp_path, soak, kind):
    data = few
    with soak.fault(f"forgeries: {forgeries.KINDS[kind].__doc__}") as fault:
        for trial in range(10 if soak.full else 1):
            with fault.trial(trial):
                run = Path(shutil.copytree(honest, tmp_path / str(trial)))
                forgeries.KINDS[kind](run, other, random.Random(trial))
                if kind == "dataset":
                    with pytest.raises(DataError):
                        verify(few, run)
                    data = drawn.write(tmp_path / f"others-{trial}.h5", 320, 90)
                certificate = verify(data, run)
                assert certificate["verdict"] == "refused", certificate["sentence"]
                fault.saw(certificate["faults"][0].partition(":")[0])


def test_other_numerics_are_not_judged(honest, few, tmp_path, monkeypatch):
    here = numerics.numerics()
    monkeypatch.setattr(verification, "numerics", lambda arithmetic: {**here, "kernel": "Prescott"})
    certificate = verify(few, honest)
    assert certificate["verdict"] == "cannot judge"
    assert f"computed with kernel {here['kernel']} (now Prescott)" in certificate["sentence"]
    run = shutil.copytree(honest, tmp_path / "run")
    forgeries.edit_summary(run, seed=2)  # seen without computing anything
    assert verify(few, run)["verdict"] == "refused"


def test_portable_runs_are_verified_anywhere(few, tmp_path, monkeypatch):
    run = train(few, tmp_path / "run", more={"numerics": "portable", "epochs": 1})
    elsewhere = {**numerics.numerics("portable"), "kernel": "Prescott", "numpy": "9.9"}
    monkeypatch.setattr(verification, "numerics", lambda arithmetic: elsewhere)
    assert "with portable numerics" in verified(few, run)["sentence"]


def test_changed_settings_are_not_judged(few, tmp_path):
    run = train(few, tmp_path / "run", more={"epochs": 1})
    train(few, run, resume="auto", flags={"epochs": 3}, override=("epochs",))
    certificate = verify(few, run)
    assert [stretch["verdict"] for stretch in certificate["stretches"]] == ["not judged", "same bits", "same bits"]
    assert certificate["verdict"] == "cannot judge"
    assert "the settings were changed during the run: epochs is 1, expected 3" in certificate["sentence"]
    assert verify(few, run, samples=2)["verdict"] == "verified in samples"


def test_the_command(honest, few, tmp_path, distlenet, only_sentence):
    out = tmp_path / "certificate.json"
    done = distlenet("verify", honest, "--data", few, "--full", "--certificate", out)
    done.expect(0, "is verified", "same bits")
    assert json.loads(out.read_text())["verdict"] == "verified"
    only_sentence(distlenet("verify", honest, "--data", few, "--certificate", out), 6, "exists", "--overwrite")
    done = distlenet("verify", honest, "--data", few, "--samples", 2, "--json").expect()
    assert json.loads(done.stdout)["verdict"] == "verified in samples"
    only_sentence(distlenet("verify", honest, "--data", tmp_path / "none.h5"), 4, "none.h5")
    only_sentence(distlenet("verify", tmp_path, "--data", few), 5, "no checkpoint to verify")
    run = shutil.copytree(honest, tmp_path / "run")
    forgeries.edit_summary(run, test_accuracy=0.999)
    only_sentence(distlenet("verify", run, "--data", few), 19, "is refused: summary.json: test_accuracy is 0.999")
    (run / "checkpoints/last.h5").write_bytes((run / "checkpoints/last.h5").read_bytes()[:-100])
    only_sentence(distlenet("verify", run, "--data", few), 5, "last.h5")


def test_under_mpirun(honest, few, tmp_path, distlenet, openmpi, only_sentence):
    done = distlenet("verify", honest, "--data", few, "--full", "--json", runtime=openmpi, ranks=2).expect()
    certificate = json.loads(done.stdout)
    assert certificate["verdict"] == "verified"
    assert "2 ranks" in certificate["versions"]["ranks"]
    run = shutil.copytree(honest, tmp_path / "run")
    forgeries.momentum(run, honest, random.Random(1))
    done = distlenet("verify", run, "--data", few, "--full", runtime=openmpi, ranks=2)
    only_sentence(done, 19, "optimizer/velocity has other bits than recomputed")


def test_a_run_in_progress(few, tmp_path, distlenet, only_sentence):
    run = tmp_path / "run"
    words = ["train", "--data", few, "--run", run, "--epochs", 100000, "--model", "single-conv-pool"]
    command = [sys.executable, "-m", "distlenet", *map(str, words)]
    with mpi_jobs.Job(command) as job:
        mpi_jobs.wait_for((run / "checkpoints/last.h5").exists, job)
        only_sentence(distlenet("verify", run, "--data", few), 6, "in progress", "wait")
        job.process.send_signal(signal.SIGTERM)
        job.finish().expect(143)
