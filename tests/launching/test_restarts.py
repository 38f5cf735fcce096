"""Restarts of a job that died as a whole."""

import os
import re
import signal
from pathlib import Path

import launches
import mpi_jobs
import pytest
import sessions
from faults import runs

from distlenet.cli import build_parser
from distlenet.errors import ConfigError, RanksLost
from distlenet.launching import restarts
from distlenet.launching.attempt import End
from distlenet.launching.job import Job
from distlenet.runs.lock import notes

AUTO = ["--resume", "auto"]


@pytest.mark.parametrize(
    ("arguments", "is_ours", "expected"),
    [
        (["train", "--run", "a"], True, ["train", "--run", "a", *AUTO]),
        (["train", "--run", "a"], False, ["train", "--run", "a"]),
        (["train", "--run", "a", "--overwrite"], False, ["train", "--run", "a", "--overwrite"]),
        (["train", "--overwrite", "--run", "a"], True, ["train", "--run", "a", *AUTO]),
        *(  # the last --resume counts
            (["train", *resume, "--run", "a"], True, ["train", *resume, "--run", "a", *AUTO])
            for resume in (["--resume", "b/last.h5"], ["--resume=b/last.h5"], ["--resume"])
        ),
        (["train", "--run", "a", "--resume"], True, ["train", "--run", "a", "--resume", *AUTO]),
        (["train", "--resume", "b/last.h5", "--run", "a"], False, ["train", "--resume", "b/last.h5", "--run", "a"]),
    ],
)
def test_arguments_of_a_restart(monkeypatch, arguments, is_ours, expected):
    monkeypatch.setattr(restarts, "notes", lambda path: {"job": "this" if is_ours else "another"})
    found = restarts.arguments_now(Job(2, arguments, Path("a")), "this")
    assert found == expected
    assert build_parser("train").parse(found).resume == ("auto" if is_ours else expected_resume(arguments))
    assert restarts.arguments_now(Job(2, arguments), "this") == arguments  # no run to resume


def expected_resume(arguments):
    return arguments[arguments.index("--resume") + 1] if "--resume" in arguments else None


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--lr", "-1"], 3, "lr"),
        (["--data", "/nowhere.h5"], 4, "/nowhere.h5"),
        (["--shards", "1"], 7, "shards"),
    ],
)
def test_bad_input_is_not_retried(openmpi, digits, tmp_path, only_sentence, options, code, message):
    run = tmp_path / "run"
    done = launches.launched("--max-restarts", 2, "train", "--data", digits, "--run", run, *options)
    only_sentence(done, code, message)
    assert "restart" not in done.output


@pytest.mark.parametrize(("name", "first_start"), [("run", ("last.h5", "3")), ("other", ("epoch-0001.h5", "2"))])
def test_a_restart_resumes_only_the_jobs_own_checkpoints(survivors_continue, digits, tmp_path, name, first_start):
    run, longer = tmp_path / "run", ["--epochs", 1000, "--override", "epochs,schedule", "--schedule", "constant"]
    runs.do(runs.train(digits, run, "--epochs", 2, "--keep-every", 1)).expect()
    words = runs.train(digits, tmp_path / name, *longer, "--resume", run / "checkpoints" / first_start[0])
    with launches.Launched("-n", 2, "--max-restarts", 1, *words) as job:
        mpi_jobs.wait_for(lambda: " epoch epoch=5/1000" in job.output_so_far(), job)
        job.kill_ranks()
        mpi_jobs.wait_for(lambda: job.output_so_far().count("resuming from") == 2, job)
        job.process.send_signal(signal.SIGTERM)
        done = job.finish()
    assert done.returncode == 143, done.output
    first, second = re.findall(r"resuming from \S+/(\S+): epoch (\d+)", done.output)
    assert first == first_start
    # the ranks may have died in a save, which writes best.h5 before last.h5
    assert second[0] in ("best.h5", "last.h5", "last-1.h5") and int(second[1]) >= 5


def test_a_restart_still_overwrites_the_old_run(digits, tmp_path):
    # all ranks die after taking the lock and before the old run is removed; the old run is not resumed
    run, marked = tmp_path / "run", tmp_path / "died"
    assert runs.do(runs.train(digits, run, "--epochs", 1, "--seed", 1)).returncode == 0
    old = runs.results(run)
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal\n"
        "from distlenet.runs.directory import LockedDirectory\n"
        "remove = LockedDirectory._remove_run\n"
        "def die(self):\n"
        f"    if not os.path.exists({str(marked)!r}):\n"
        f"        os.mkdir({str(marked)!r})\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    remove(self)\n"
        "LockedDirectory._remove_run = die\n"
    )
    words = runs.train(digits, run, "--epochs", 1, "--seed", 2, "--overwrite")
    path = f"{tmp_path}{os.pathsep}{mpi_jobs.ROOT}"
    done = launches.launched("--no-fault-tolerance", "--max-restarts", 1, *words, PYTHONPATH=path)
    assert marked.exists() and "restart 1 of 1" in done.output, done.output
    assert done.returncode == 0, done.output
    alone = tmp_path / "alone"
    assert runs.do(runs.train(digits, alone, "--epochs", 1, "--seed", 2)).returncode == 0
    assert runs.results(run) == runs.results(alone) != old


def test_which_run_a_job_owns(digits, tmp_path, monkeypatch):
    # from its start on, not before
    run = tmp_path / "run"

    def owner():
        return notes(run / "lock").get("job")

    assert owner() is None
    assert sessions.train_run(digits, run, flags={"epochs": 0}).code == 0
    assert owner() is None
    monkeypatch.setenv("DISTLENET_LAUNCH_ID", "job-1")

    def die(*_):
        raise ConfigError("killed")

    for place in ("directory.LockedDirectory._remove_run", "writer.Journal"):
        with monkeypatch.context() as broken:
            broken.setattr(f"distlenet.runs.{place}", die)
            assert sessions.train_run(digits, run, flags={"epochs": 1}, overwrite=True).code == 3
        assert owner() is None
    assert sessions.train_run(digits, run, flags={"epochs": 0}, overwrite=True).code == 0
    assert owner() == "job-1"
    monkeypatch.setenv("DISTLENET_LAUNCH_ID", "job-2")
    assert sessions.train_run(digits, run, resume="auto").code == 0
    assert owner() == "job-2"
    monkeypatch.delenv("DISTLENET_LAUNCH_ID")
    assert sessions.train_run(digits, run, resume="auto").code == 0
    assert owner() is None


@pytest.mark.parametrize(
    ("positions", "max_restarts", "starts"),
    [
        ([None], 0, 4),
        ([None], 1, 5),
        ([None, (0, 0, 1), (0, 0, 1), (0, 0, 1), (0, 0, 2), (0, 1, 0)], 0, 9),
    ],
    ids=["without a checkpoint", "with a restart", "with progress"],
)
def test_a_job_that_always_gets_stuck_is_given_up(monkeypatch, capfd, positions, max_restarts, starts):
    started = []

    class Stuck:
        def __init__(self, job, arguments, *_):
            started.append(arguments)

        def run(self):
            return End(RanksLost.exit_code, orderly=False, connected=True, stuck=True)

    monkeypatch.setattr(restarts, "Attempt", Stuck)
    monkeypatch.setattr(restarts, "newest_position", lambda run: positions[min(len(started), len(positions)) - 1])
    assert restarts.launch(Job(2, ["train"]), max_restarts) == RanksLost.exit_code
    assert len(started) == starts
    told = capfd.readouterr().err
    assert told.count("starting again from the last save") == starts - 1 - max_restarts
    assert told.count(f"restart 1 of {max_restarts}") == max_restarts
