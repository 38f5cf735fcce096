"""``distlenet launch``: the line it starts, the exit codes and signals it passes on."""

import signal
import sys

import launches
import mpi_jobs
import pytest
from faults import runs

from distlenet import launch
from distlenet.errors import LaunchError, UsageError

FAULT_TOLERANCE = [
    *("--with-ft", "ulfm"),
    *("--mca", "mpi_ft_detector", "1"),
    *("--mca", "mpi_ft_detector_thread", "1"),
    *("--mca", "mpi_ft_detector_period", "2.0"),
    *("--mca", "mpi_ft_detector_timeout", "10.0"),
]
YIELD = ["--mca", "mpi_yield_when_idle", "1"]


@pytest.fixture
def machine(monkeypatch):
    """``machine(open_mpi, cores)``: a machine with that MPI and so many cores."""

    def pretend(open_mpi, cores=2):
        monkeypatch.setattr(launch, "find_mpirun", lambda: "mpirun")
        monkeypatch.setattr(launch, "is_open_mpi", lambda mpirun: open_mpi)
        monkeypatch.setattr(launch.os, "sched_getaffinity", lambda pid: set(range(cores)))

    return pretend


@pytest.mark.parametrize(
    ("ranks", "settings", "expected"),
    [
        (2, {}, []),
        (2, {"fault_tolerance": True, "stall_after": 10.0}, FAULT_TOLERANCE),
        (4, {}, [*YIELD, "--map-by", ":OVERSUBSCRIBE"]),
        (4, {"hosts": "a:3,b"}, ["--host", "a:3,b:1", *YIELD]),
        (
            4,
            {"hosts": "a:2,b:2", "fault_tolerance": True, "stall_after": 10.0},
            [*FAULT_TOLERANCE, "--mca", "coll", "^han,adapt", "--host", "a:2,b:2", *YIELD],
        ),
    ],
    ids=["cores for all", "fault tolerance", "more ranks than cores", "hosts", "both"],
)
def test_open_mpi_s_command(machine, ranks, settings, expected):
    machine(open_mpi=True)
    assert launch.mpirun_command(ranks, **settings) == ["mpirun", "-n", str(ranks), *expected]


def test_mpich_s_command(machine):
    machine(open_mpi=False, cores=1)
    assert launch.mpirun_command(3, fault_tolerance=True) == ["mpirun", "-n", "3"]
    hosts = ["mpirun", "-n", "3", "-hosts", "a,b", "-ppn", "2"]
    assert launch.mpirun_command(3, "a:2,b") == hosts


@pytest.mark.parametrize("open_mpi", [True, False])
@pytest.mark.parametrize("hosts", ["a:x", ":2", "a:2,", "a:-1", "a:1:1"])
def test_bad_hosts(machine, hosts, open_mpi):
    machine(open_mpi)
    with pytest.raises(UsageError, match="--hosts has .* expected NAME or NAME:RANKS"):
        launch.mpirun_command(2, hosts)


def test_no_mpirun(monkeypatch, tmp_path):
    monkeypatch.setattr(launch.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="no mpirun"):
        launch.find_mpirun()


def test_each_mpi_is_told_apart(runtime):
    assert launch.is_open_mpi(runtime.mpirun) == (runtime.name == "openmpi")
    if runtime.name == "mpich":
        assert not launch.survives_losses(runtime.mpirun)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "--run", "a"], ["train", "--run", "a", "--resume", "auto"]),
        (["train", "--overwrite", "--run", "a"], ["train", "--run", "a", "--resume", "auto"]),
        (["train", "--resume", "b/last.h5", "--run", "a"], ["train", "--resume", "b/last.h5", "--run", "a"]),
        (["train", "--resume=auto", "--overwrite"], ["train", "--resume=auto"]),
        (["evaluate", "a", "--json"], ["evaluate", "a", "--json"]),
        ([], []),
    ],
)
def test_resumed(arguments, expected):
    assert launch.resumed(arguments) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-n", 2], "launch needs the command to run"),
        (["-n", 0, "train"], "--ranks is 0, expected at least 1"),
        (["train"], "-n/--ranks"),
        (["-n", "two", "train"], "invalid int value"),
    ],
)
def test_bad_usage(distlenet, only_sentence, words, said):
    only_sentence(distlenet("launch", *words), 2, said)


def launched(*words, python=sys.executable):
    with launches.Launched("-n", 2, *words, python=python) as job:
        done = job.finish()
        assert not job.left_behind()
    return done


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--lr", "-1"], 3, "lr"),
        (["--data", "/nowhere.h5"], 4, "/nowhere.h5"),
        (["--shards", "1"], 7, "shards"),
    ],
)
def test_bad_input_is_not_tried_again(openmpi, digits, tmp_path, only_sentence, options, code, said):
    run = tmp_path / "run"
    done = launched("--max-restarts", 2, "train", "--data", digits, "--run", run, *options)
    only_sentence(done, code, said)
    assert "restart" not in done.output


def test_evaluate(openmpi, trained, digits, distlenet):
    words = ["evaluate", trained, "--data", digits, "--json"]
    done = launched("--max-restarts", 1, *words)
    assert done.returncode == 0, done.output
    assert done.stdout == distlenet(*words).stdout
    assert "restart" not in done.output


def under_way(digits, run, python=sys.executable):
    """Return a job that trains until it is told to end."""
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
    """A signal to the launcher: the run is saved, ends with the signal's code, and can be gone on with."""
    with under_way(digits, run, python) as job:
        job.process.send_signal(number)
        done = job.finish()
        assert not job.left_behind()
    assert done.returncode == 128 + number, done.output
    assert "Traceback" not in done.output, done.output
    assert runs.summary(run)["status"].startswith("stopped by "), done.output
    position = runs.newest(run).meta["position"]
    assert position["steps"] == runs.summary(run)["steps"]
    end = ["--epochs", position["epoch"] + 1, "--override", "epochs", "--resume", "auto"]
    again = runs.do(runs.train(digits, run, "--validation", 50, *end))
    assert again.returncode == 0, again.output
    assert runs.summary(run)["steps"] > position["steps"] or position["step"] == 0
    epochs = [line["epoch"] for line in runs.journal(run) if line["kind"] == "epoch"]
    assert epochs == sorted(set(epochs)) and len(epochs) == runs.summary(run)["epochs"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends(openmpi, digits, tmp_path, number):
    stops(digits, tmp_path / "run", number)


def test_mpich(digits, tmp_path):
    found = mpi_jobs.find_runtime("mpich")
    if isinstance(found, str):
        pytest.skip(found)
    stops(digits, tmp_path / "run", signal.SIGTERM, found.python)


def test_sigusr1_saves_and_goes_on(openmpi, digits, tmp_path):
    def epochs() -> int:
        return job.said().count(" epoch epoch=")

    with under_way(digits, tmp_path / "run") as job:
        job.process.send_signal(signal.SIGUSR1)
        mpi_jobs.wait_for(lambda: "reason='asked for'" in job.said(), job)
        before = epochs()
        mpi_jobs.wait_for(lambda: epochs() > before + 1, job)
        job.process.send_signal(signal.SIGTERM)
        done = job.finish()
    assert done.returncode == 143, done.output
