"""Finding mpirun, and the commands built for it."""

import os
import sys
import tempfile
from pathlib import Path

import mpi_jobs
import pytest

from distlenet.errors import LaunchError, UsageError
from distlenet.launching import mpirun

FAULT_TOLERANCE = [
    *("--with-ft", "ulfm"),
    *("--prtemca", "state_base_recoverable", "1"),
    *("--mca", "mpi_ft_detector", "1"),
    *("--mca", "mpi_ft_detector_thread", "0"),
    *("--mca", "coll", "^han,adapt"),
    *("--mca", "mpi_ft_detector_period", "2.0"),
    *("--mca", "mpi_ft_detector_timeout", "10.0"),
]
YIELD = ["--mca", "mpi_yield_when_idle", "1"]


@pytest.fixture
def machine(monkeypatch):
    """``machine(open_mpi, cores)``: a machine with that MPI and that many cores."""

    def pretend(open_mpi, cores=2):
        found = mpirun.Mpirun("mpirun", *(("Open MPI", "5.0.11") if open_mpi else ("MPICH", "5.0.2")))
        monkeypatch.setattr(mpirun, "which_mpi", lambda: found)
        monkeypatch.setattr(mpirun.os, "sched_getaffinity", lambda pid: set(range(cores)))

    return pretend


@pytest.mark.parametrize(
    ("ranks", "settings", "expected"),
    [
        (2, {}, []),
        (2, {"fault_tolerance": True, "stall_after": 10.0}, FAULT_TOLERANCE),
        (4, {}, [*YIELD, "--map-by", ":OVERSUBSCRIBE"]),
        (4, {"hosts": "a:3,b"}, ["--host", "a:3,b:1", *YIELD]),
        (4, {"hosts": "a,b", "variables": ["A", "B"]}, ["-x", "A", "-x", "B", "--host", "a:1,b:1", *YIELD]),
        (2, {"variables": ["A", "B"]}, []),
        (
            4,
            {"hosts": "a:2,b:2", "fault_tolerance": True, "stall_after": 10.0},
            [*FAULT_TOLERANCE, "--host", "a:2,b:2", *YIELD],
        ),
    ],
    ids=["cores for all", "fault tolerance", "more ranks than cores", "hosts", "variables", "one host", "both"],
)
def test_open_mpi_s_command(machine, ranks, settings, expected):
    machine(open_mpi=True)
    assert mpirun.mpirun_command(ranks, **settings) == ["mpirun", "-n", str(ranks), *expected]


def test_mpich_s_command(machine):
    machine(open_mpi=False, cores=1)
    assert mpirun.mpirun_command(3, fault_tolerance=True) == ["mpirun", "-n", "3"]
    hosts = ["mpirun", "-n", "3", "-hosts", "a,b", "-ppn", "2"]
    assert mpirun.mpirun_command(3, "a:2,b") == hosts


@pytest.mark.parametrize("open_mpi", [True, False])
@pytest.mark.parametrize("hosts", ["a:x", ":2", "a:2,", "a:-1", "a:1:1"])
def test_bad_hosts(machine, hosts, open_mpi):
    machine(open_mpi)
    with pytest.raises(UsageError, match="--hosts has .* expected NAME or NAME:RANKS"):
        mpirun.mpirun_command(2, hosts)


def test_only_root_allows_root(monkeypatch):
    monkeypatch.delenv("OMPI_ALLOW_RUN_AS_ROOT", raising=False)
    monkeypatch.delenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", raising=False)
    for user, allowed in ((0, True), (1000, False)):
        monkeypatch.setattr(mpirun.os, "geteuid", lambda user=user: user)
        found = [name for name in mpirun.mpi_environment() if name.startswith("OMPI_ALLOW_RUN_AS_ROOT")]
        assert len(found) == (2 if allowed else 0)


def test_a_user_without_a_home_gets_one_for_open_mpi(monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(mpirun, "home", lambda: None)
    assert mpirun.mpi_environment()["HOME"] == tempfile.gettempdir()
    monkeypatch.setattr(mpirun, "home", lambda: Path("/home/ann"))
    assert "HOME" not in mpirun.mpi_environment()


SHADOWS = ("random", "signal", "copy", "numpy", "argparse", "tempfile", "json", "dataclasses", "subprocess")


@pytest.fixture
def shadowed(tmp_path, monkeypatch):
    """A working directory with files named like modules of the standard library."""
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", [["summary"], ["doctor", "--json"], ["train", "--run", "x", "--check"]])
def test_modules_of_the_working_directory_do_not_replace_others(shadowed, words):
    done = mpi_jobs.run([sys.executable, "-m", "distlenet", *words], cwd=shadowed).expect()
    assert "wrong module" not in done.output


def test_ranks_do_not_see_the_working_directory(openmpi, shadowed):
    assert mpirun.python_command("distlenet", "a")[1:] == ["-P", "-m", "distlenet", "a"]
    done = mpi_jobs.run([sys.executable, "-m", "distlenet", "launch", "-n", "2", "doctor"], cwd=shadowed).expect()
    assert "wrong module" not in done.output


def test_a_checkout_that_is_not_installed_is_found_in_the_working_directory(tmp_path):
    # only the working directory leads to the package, so neither -P nor another import path is possible
    program = "import sys\nfrom distlenet.launching.mpirun import python_command\nsys.meta_path[:] = sys.meta_path[:3]"
    (tmp_path / "ask.py").write_text(f"{program}\nprint(python_command('x')[1])")
    site = [entry for entry in sys.path if entry.endswith("-packages")]
    (tmp_path / "distlenet").symlink_to(mpi_jobs.ROOT / "distlenet")
    environment = mpi_jobs.environment() | {"PYTHONPATH": os.pathsep.join(site)}
    assert mpi_jobs.run([sys.executable, "-m", "ask"], cwd=tmp_path, env=environment).stdout == "-m\n"


def test_no_mpirun(monkeypatch, tmp_path):
    monkeypatch.setattr(mpirun.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="no mpirun"):
        mpirun.find_mpirun()


def test_each_mpi_is_recognised(runtime):
    found = mpirun.ask_mpirun(runtime.mpirun)
    assert found.is_open_mpi == (runtime.name == "openmpi")
    if runtime.name == "mpich":
        assert found.name == "MPICH" and not found.survives_losses


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [("Open MPI", "5.0.11", True), ("Open MPI", "10.0", True), ("Open MPI", "4.1.6", False), ("?", "?", False)],
)
def test_who_survives_losses(name, version, expected):
    assert mpirun.Mpirun("mpirun", name, version).survives_losses == expected
