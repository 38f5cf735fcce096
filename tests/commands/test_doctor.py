"""``distlenet doctor``: in one process, under both MPIs, and under the wrong mpirun."""

import json
import os
import sys
from pathlib import Path

import mpi_jobs
import pytest

DOCTOR = ["-m", "distlenet", "doctor", "--json"]


def report(done):
    assert "Traceback" not in done.output
    return json.loads(done.expect().stdout)


def env_of(runtime, **more):
    return mpi_jobs.environment(PATH=f"{Path(runtime.mpirun).parent}:{os.environ['PATH']}", **more)


@pytest.fixture
def doctor(openmpi, distlenet, monkeypatch):
    """``doctor(folder, *options)``: the job in one process, with Open MPI's mpirun on the PATH."""
    monkeypatch.setenv("PATH", env_of(openmpi)["PATH"])
    return lambda folder, *options: distlenet("doctor", "--run", folder, *options)


def test_alone(doctor, tmp_path):
    found = report(doctor(tmp_path / "new", "--json"))
    assert found["launcher"] is None
    assert found["mpi"]["name"] == found["mpirun"]["name"] == "Open MPI"
    assert found["mpirun_belongs"] is True
    assert found["fault_tolerance"]["on"] is False
    assert len(found["ranks"]) == 1
    assert found["locking"] == {"folder": str(tmp_path), "flock": "works", "hdf5": "works"}
    assert found["terminal"]["mode"] == "plain"
    assert found["advice"] == []
    assert found["slowest"] is found["ranks"][0]["pace"] is None
    assert not (tmp_path / "new").exists()


def test_alone_as_text(doctor):
    done = doctor("/tmp").expect()
    assert "\x1b" not in done.stdout
    for words in ("MPI library", "Open MPI 5", "one process", "file locks", "threads", "nothing to fix"):
        assert words in done.stdout


def test_alone_never_loads_mpi(tmp_path):
    program = (
        "import sys; from distlenet.cli import main\n"
        f"assert main(['doctor', '--run', {str(tmp_path)!r}]) == 0\n"
        "assert 'mpi4py' not in sys.modules"
    )
    mpi_jobs.run([sys.executable, "-c", program]).expect()


def test_without_any_mpi(tmp_path, distlenet, monkeypatch):
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py/__init__.py").write_text("raise ImportError('no library')\n")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{mpi_jobs.ROOT}")  # for the process that examines the MPI
    found = report(distlenet("doctor", "--json", "--run", tmp_path))
    assert found["mpi"] == {"error": "no library"}
    assert "no usable MPI (no library): training works in one process" in found["advice"][0]


def test_a_row_for_each_rank(runtime, tmp_path):
    done = mpi_jobs.run(runtime.command(2, *DOCTOR, "--run", str(tmp_path)), env=env_of(runtime))
    found = report(done)
    name = {"openmpi": "Open MPI", "mpich": "MPICH"}[runtime.name]
    assert found["mpi"]["name"] == found["mpirun"]["name"] == name
    assert found["mpirun_belongs"] is True
    assert found["launched"] == len(found["ranks"]) == 2
    assert len({row["process"] for row in found["ranks"]}) == 2
    assert found["fault_tolerance"]["on"] is False
    if len(os.sched_getaffinity(0)) > 1:
        assert found["advice"] == []


def test_the_slowest_rank_is_named(any_mpi, tmp_path):
    shared = [str(mpi_jobs.JOBS / "hampered.py"), "shared", "0", "0", "doctor", "--run", str(tmp_path)]
    found = report(mpi_jobs.run(any_mpi.command(2, *shared, "--json"), env=env_of(any_mpi)))
    slowest, rows = found["slowest"], found["ranks"]
    assert slowest["cause"] == "shared core" and slowest["host"] == rows[0]["host"]
    assert "ranks 0-1 share core" in slowest["text"] and f"rank {slowest['rank']} on " in slowest["text"]
    assert slowest["leaf"] == max(row["pace"]["together"] for row in rows)
    assert all(row["pace"]["alone"] > 0 for row in rows)
    done = mpi_jobs.run(any_mpi.command(2, *shared), env=env_of(any_mpi)).expect()
    assert "slowest rank" in done.stdout and "alone" in done.stdout


def test_crowded_ranks_as_text(any_mpi, tmp_path):
    ranks = len(os.sched_getaffinity(0)) + 1
    words = [*DOCTOR[:-1], "--run", str(tmp_path)]
    done = mpi_jobs.run(any_mpi.command(ranks, *words), env=env_of(any_mpi)).expect()
    assert f"{ranks} ranks run {ranks} BLAS threads" in done.stdout
    assert "nothing to fix" not in done.stdout


def test_fault_tolerance_is_recognised(openmpi, tmp_path):
    command = openmpi.command(2, *DOCTOR, "--run", str(tmp_path))
    command[1:1] = ["--with-ft", "ulfm"]
    found = report(mpi_jobs.run(command, env=env_of(openmpi)))
    assert found["fault_tolerance"]["on"] is True


def test_the_wrong_mpirun(misfit, tmp_path):
    done = mpi_jobs.run(misfit.command(2, *DOCTOR, "--run", str(tmp_path)), env=env_of(misfit))
    assert done.returncode == 7, done.output
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert found["launched"] == 2
    assert len(found["ranks"]) == 1
    assert found["mpirun_belongs"] is False
    assert "they do not belong together" in found["advice"][0]

    # and in one process, before any launch, with the wrong mpirun on the PATH
    found = report(mpi_jobs.run([misfit.python, *DOCTOR, "--run", str(tmp_path)], env=env_of(misfit)))
    assert found["mpirun_belongs"] is False
    assert f"use {Path(misfit.python).with_name('mpirun')}" in found["advice"][0]


def test_a_folder_that_cannot_be_written(doctor):
    found = report(doctor("/proc/nothing", "--json"))
    assert "choose a folder that you may write" in found["advice"][-1]
