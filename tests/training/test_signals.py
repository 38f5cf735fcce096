"""Signals: the run saves, ends with the signal's exit code, and resumes to exactly the same weights."""

import os
import signal
import sys

import mpi_jobs
import pytest
import sessions

SETTINGS = ["--epochs", "3", "--batch-size", "64", "--shards", "4", "--log-every", "1", "--display", "plain"]
STEPS = 11  # per epoch: 642 images


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, digits, distlenet):
    run = tmp_path_factory.mktemp("whole") / "run"
    distlenet("train", "--data", digits, "--run", run, *SETTINGS).expect()
    return run


def train_with_signal(run, digits, rank, name, step, runtime=None, ranks=1):
    words = [str(mpi_jobs.JOBS / "signalled.py"), str(rank), name, str(step)]
    words += ["train", "--data", str(digits), "--run", str(run), *SETTINGS]
    return mpi_jobs.run([sys.executable, *words] if runtime is None else runtime.command(ranks, *words))


def check_resumes(run, whole, digits, distlenet, **where):
    distlenet("train", "--data", digits, "--run", run, *SETTINGS, "--resume", "auto", **where).expect()
    assert sessions.results(run) == sessions.results(whole)
    steps = [line["steps"] for line in sessions.lines(run) if line["kind"] == "step"]
    assert steps == list(range(1, 3 * STEPS + 1))  # each once
    losses = [[line["loss"] for line in sessions.lines(path) if line["kind"] == "step"] for path in (run, whole)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("name", "code", "step"),
    [
        ("SIGINT", 130, STEPS + 4),
        ("SIGTERM", 143, 0),
        ("SIGINT", 130, 2 * STEPS - 1),  # in the last step of an epoch, before its evaluation
        ("SIGTERM", 143, 3 * STEPS - 1),  # in the run's last step
    ],
)
def test_stop_and_resume(uninterrupted, digits, distlenet, tmp_path, name, code, step):
    run = tmp_path / "run"
    done = train_with_signal(run, digits, 0, name, step).expect(code)
    assert "Traceback" not in done.output
    summary = sessions.summary(run)
    assert summary["status"] == f"stopped by {name}"
    assert summary["steps"] == step + 1
    assert "test_accuracy" not in summary  # the test set is read once, at the end
    assert sessions.lines(run)[-1]["status"] == f"stopped by {name}"
    check_resumes(run, uninterrupted, digits, distlenet)


def test_any_rank_may_receive_the_signal(any_mpi, uninterrupted, digits, distlenet, tmp_path):
    run = tmp_path / "run"
    done = train_with_signal(run, digits, 1, "SIGTERM", STEPS + 2, any_mpi, ranks=2).expect(143)
    assert "Traceback" not in done.output
    assert sessions.summary(run)["status"] == "stopped by SIGTERM"
    assert sessions.summary(run)["steps"] == STEPS + 3
    check_resumes(run, uninterrupted, digits, distlenet, runtime=any_mpi, ranks=3)


def test_sigusr1_saves_and_training_continues(uninterrupted, digits, tmp_path):
    run = tmp_path / "run"
    done = train_with_signal(run, digits, 0, "SIGUSR1", 5).expect()
    saved = [line for line in done.stdout.splitlines() if " checkpoint " in line and "path=" in line]
    assert len([line for line in saved if "reason=last" not in line and "reason=best" not in line]) == 1
    assert sessions.summary(run)["theta_sha256"] == sessions.summary(uninterrupted)["theta_sha256"]


def test_ctrl_c(digits, tmp_path):
    # as a user would press it, at an arbitrary moment of a run that would take minutes
    run = tmp_path / "run"
    command = [sys.executable, "-m", "distlenet", "train", "--data", str(digits), "--run", str(run)]
    with mpi_jobs.Job([*command, *SETTINGS, "--epochs", "5000"]) as job:
        log = run / "journal.jsonl"
        mpi_jobs.wait_for(lambda: log.exists() and log.read_text().count("\n") > 3, job)
        job.process.send_signal(signal.SIGINT)
        done = job.finish().expect(130)
    assert "Traceback" not in done.output
    assert sessions.summary(run)["status"] == "stopped by SIGINT"
    assert (run / "checkpoints/last.h5").exists()


def test_live_directory_is_refused_and_kill_9_leaves_no_lock(digits, distlenet, only_sentence, tmp_path):
    run = tmp_path / "run"
    arguments = ["train", "--data", str(digits), "--run", str(run), *SETTINGS]
    with mpi_jobs.Job([sys.executable, "-m", "distlenet", *arguments, "--epochs", "5000"]) as job:
        log = run / "journal.jsonl"
        mpi_jobs.wait_for(lambda: log.exists() and log.read_text().count("\n") > 3, job)
        for options in ([], ["--overwrite"], ["--resume", "auto"]):
            refused = distlenet(*arguments, *options)
            only_sentence(refused, 6, "is in use by another run", f"process {job.process.pid}")
        assert job.process.poll() is None
        assert log.exists()
        os.kill(job.process.pid, signal.SIGKILL)
        assert job.process.wait() == -signal.SIGKILL
    distlenet(*arguments, "--overwrite").expect()


def test_handlers_are_restored():
    program = (
        "import signal\n"
        "from distlenet.training.signals import Signals\n"
        "before = [signal.getsignal(n) for n in (2, 10, 15)]\n"
        "with Signals() as signals:\n"
        "    signal.raise_signal(10)\n"
        "    assert [name for name, vote in signals.votes().items() if vote] == ['saves']\n"
        "    signal.raise_signal(15)\n"
        "    for _ in range(2): assert [name for name, vote in signals.votes().items() if vote] == ['SIGTERM']\n"
        "assert [signal.getsignal(n) for n in (2, 10, 15)] == before\n"
    )
    mpi_jobs.run([sys.executable, "-c", program]).expect()


def test_handlers_are_set_before_mpi_is_loaded(digits, tmp_path):
    package = tmp_path / "mpi4py"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import signal\n"
        "heard = [callable(signal.getsignal(n)) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)]\n"
        "raise ImportError(f'handlers {heard}')\n"
    )
    words = ["-m", "distlenet", "train", "--data", str(digits), "--run", str(tmp_path / "run")]
    path = f"{tmp_path}{os.pathsep}{mpi_jobs.ROOT}"
    around = {"PYTHONPATH": path, "OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}
    mpi_jobs.run([sys.executable, *words], env=mpi_jobs.environment(**around)).expect(7, "handlers [True, True, True]")
