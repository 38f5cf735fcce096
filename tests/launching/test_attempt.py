"""A job that ``distlenet launch`` has started: exit codes, forwarded signals, ranks and an mpirun that hang."""

import os
import signal
import subprocess
import sys
import time

import launches
import mpi_jobs
import pytest
from faults import runs

from distlenet.errors import RanksLost
from distlenet.launching import attempt, mpirun
from distlenet.launching.job import Job
from distlenet.launching.restarts import launch


def test_evaluate(openmpi, trained, digits, distlenet):
    words = ["evaluate", trained, "--data", digits, "--json"]
    done = launches.launched("--max-restarts", 1, *words).expect()
    assert done.stdout == distlenet(*words).stdout
    assert "restart" not in done.output


def under_way(digits, run, python=sys.executable):
    """Return a job that trains until it is asked to end."""
    words = runs.train(digits, run, "--epochs", 1000, "--validation", 50)
    job = launches.Launched("-n", 2, "--max-restarts", 1, *words, python=python)
    try:
        mpi_jobs.wait_for((run / runs.FIRST_WRITES).exists, job)
        mpi_jobs.wait_for(lambda: runs.saved(run), job)
    except BaseException:
        job.close()
        raise
    return job


def stops(digits, run, number, python=sys.executable):
    """Send a signal to the launcher: the run is saved, ends with the signal's exit code, and can be resumed."""
    with under_way(digits, run, python) as job:
        job.process.send_signal(number)
        done = job.finish()
        assert not job.left_behind()
    assert done.returncode == 128 + number, done.output
    assert "Traceback" not in done.output, done.output
    assert runs.summary(run)["status"].startswith("stopped by "), done.output
    assert f"saved in {run}/checkpoints/last.h5; resume with the same command and --resume" in done.output
    progress = runs.newest(run).progress
    assert progress.steps == runs.summary(run)["steps"]
    end = ["--epochs", progress.epoch + 1, "--override", "epochs", "--resume", "auto"]
    runs.do(runs.train(digits, run, "--validation", 50, *end)).expect()
    assert runs.summary(run)["steps"] > progress.steps or progress.step == 0
    epochs = [line["epoch"] for line in runs.journal(run) if line["kind"] == "epoch"]
    assert epochs == sorted(set(epochs)) and len(epochs) == runs.summary(run)["epochs"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends(openmpi, digits, tmp_path, number):
    stops(digits, tmp_path / "run", number)


def test_the_same_signal_twice_counts_once(openmpi, digits, tmp_path):
    run = tmp_path / "run"
    with under_way(digits, run) as job:
        for _ in range(2):  # like a shell and a scheduler
            job.process.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        done = job.finish()
    assert done.returncode == 143, done.output
    assert runs.newest(run).progress.steps == runs.summary(run)["steps"]


def test_a_signal_before_mpirun_is_started(openmpi, digits, tmp_path, monkeypatch):
    mpirun.which_mpi()  # caches the answer before Popen is replaced below
    real, started = subprocess.Popen, []

    def popen(command, **options):
        if "mpirun" not in command[0]:
            return real(command, **options)
        os.kill(os.getpid(), signal.SIGTERM)
        started.append(real(command, **options))
        return started[0]

    monkeypatch.setattr(attempt.subprocess, "Popen", popen)
    words = runs.train(digits, tmp_path / "run", "--epochs", 1000)
    assert launch(Job(2, [str(word) for word in words], fault_tolerance=False), max_restarts=1) == 143
    assert len(started) == 1
    assert started[0].poll() is not None


@pytest.mark.parametrize("where", ["before", "after"])
def test_the_root_hangs_when_the_run_is_done(survivors_continue, digits, tmp_path, where):
    # SIGSTOP where no other rank waits for it: before or after it has written the exit code
    stops = f"""import os, signal
if os.environ.get("OMPI_COMM_WORLD_RANK") == "0":
    from distlenet import handshake
    tell = handshake.tell_launcher
    def tell_and_stop(*words, **named):
        {"os.kill(os.getpid(), signal.SIGSTOP)" if where == "before" else "tell(*words, **named)"}
        os.kill(os.getpid(), signal.SIGSTOP)
    handshake.tell_launcher = tell_and_stop
"""
    (tmp_path / "sitecustomize.py").write_text(stops)
    run, path = tmp_path / "run", f"{tmp_path}{os.pathsep}{mpi_jobs.ROOT}"
    words = runs.train(digits, run, "--epochs", 1)
    done = launches.launched("--stall-after", 1, "--max-restarts", 1, *words, PYTHONPATH=path).expect()
    assert "the job was done 1 s ago, but a rank hangs: ending it" in done.output
    assert "restart" not in done.output
    assert runs.summary(run)["status"] == "complete"


def test_mpirun_hangs_when_a_rank_aborts_the_job(survivors_continue, digits, tmp_path, monkeypatch, capfd):
    (tmp_path / "sitecustomize.py").write_text("""import os, time
if os.environ.get("OMPI_COMM_WORLD_RANK") == "1":
    from distlenet import handshake
    tell = handshake.tell_aborted
    def tell_and_hang():
        tell()
        time.sleep(1000)
    handshake.tell_aborted = tell_and_hang
    from distlenet.runs import rank_comparison
    rank_comparison.compare_numerics = None  # calling it is a defect of this rank
""")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{mpi_jobs.ROOT}")
    monkeypatch.setattr(attempt, "ABORT_SECONDS", 0.5)
    words = runs.train(digits, tmp_path / "run", "--epochs", 1)
    assert launch(Job(2, [str(word) for word in words])) == RanksLost.exit_code
    assert "a rank aborted the job, but mpirun hangs: ending it" in capfd.readouterr().err


def test_the_root_is_killed_while_it_leaves_the_exit_code(survivors_continue, digits, tmp_path):
    # its file is there, but empty: the code of the other ranks counts
    (tmp_path / "sitecustomize.py").write_text("""import os, pathlib, signal, time
if os.environ.get("OMPI_COMM_WORLD_RANK") == "0":
    from distlenet import handshake
    def create_and_die(code, left=False):
        path = pathlib.Path(os.environ[handshake.EXIT_FILE])
        while not path.with_name(handshake.LEFT).exists():
            time.sleep(0.01)
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    handshake.tell_launcher = create_and_die
""")
    words = runs.train(digits, tmp_path / "run", "--epochs", 1)
    launches.launched(*words, PYTHONPATH=f"{tmp_path}{os.pathsep}{mpi_jobs.ROOT}").expect()
    assert runs.summary(tmp_path / "run")["status"] == "complete"


@pytest.mark.parametrize("tolerance", [[], ["--no-fault-tolerance"]], ids=["survives", "does not survive"])
def test_a_result_that_cannot_be_shown_is_a_failure(openmpi, trained, digits, tmp_path, tolerance):
    fails = "import distlenet.ui, sys\nclass Refuse:\n"
    fails += "    def find_spec(self, name, path, target=None):\n"
    fails += "        if name == 'distlenet.ui.tables':\n            raise OSError('no such view')\n"
    (tmp_path / "sitecustomize.py").write_text(f"{fails}sys.meta_path.insert(0, Refuse())\n")
    path = f"{tmp_path}{os.pathsep}{mpi_jobs.ROOT}"
    done = launches.launched(*tolerance, "evaluate", trained, "--data", digits, PYTHONPATH=path)
    assert done.returncode != 0, done.output
    assert "no such view" in done.output


def test_all_ranks_killed_is_a_failure(survivors_continue, digits, tmp_path):
    with launches.Launched("-n", 2, *runs.train(digits, tmp_path / "run", "--epochs", 1000)) as job:
        mpi_jobs.wait_for(lambda: runs.saved(tmp_path / "run"), job)
        job.kill_ranks()
        done = job.finish()
    assert done.returncode == RanksLost.exit_code, done.output
    assert "distlenet launch: all ranks died" in done.output


def test_a_folder_that_the_root_cannot_see(digits, tmp_path, only_sentence, runtime):
    command = runtime.command(2, "-m", "distlenet", *map(str, runs.train(digits, tmp_path / "run")))
    done = mpi_jobs.run(command, env=mpi_jobs.environment(DISTLENET_EXIT_FILE="/nowhere/exit-code"))
    only_sentence(done, 7, "does not see /nowhere, where `distlenet launch` waits for it")


def test_mpich(digits, tmp_path):
    found = mpi_jobs.find_runtime("mpich")
    if isinstance(found, str):
        pytest.skip(found)
    stops(digits, tmp_path / "run", signal.SIGTERM, found.python)


def test_sigusr1_saves_and_training_continues(openmpi, digits, tmp_path):
    def epochs() -> int:
        return job.output_so_far().count(" epoch epoch=")

    with under_way(digits, tmp_path / "run") as job:
        job.process.send_signal(signal.SIGUSR1)
        mpi_jobs.wait_for(lambda: "reason=requested " in job.output_so_far(), job)
        before = epochs()
        mpi_jobs.wait_for(lambda: epochs() > before + 1, job)
        job.process.send_signal(signal.SIGTERM)
        done = job.finish()
    assert done.returncode == 143, done.output
