"""Every command of the README runs, in order, in one folder."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distlenet.cli import COMMANDS, build_parser
from distlenet.data.sources.drawing import draw_digits

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BY_CI = ("scripts/quickstart", "scripts/test")  # the checks on a bare machine run these


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def files() -> dict[str, str]:
    """The Python blocks that begin with a comment that names a file."""
    return {name[1]: block for block in blocks("python") if (name := re.match(r"# (\w+\.py)\n", block))}


def commands() -> list[str]:
    lines = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith((". ", *BY_CI))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if not Path(os.environ.get("DISTLENET_MNIST", "/nowhere")).is_dir():
        pytest.skip("the README's commands need MNIST: set DISTLENET_MNIST to a folder with the four files")
    if not (Path(sys.executable).parent / "mpirun").exists():
        pytest.skip("no mpirun beside this Python")
    return tmp_path_factory.mktemp("readme")


def inline() -> list[str]:
    """The commands that stand in the text and in the tables, as `code`; "..." stands for more."""
    text = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    found = re.findall(r"`((?:mpirun|distlenet|python|scripts/test) [^`]+)`", text)
    return [command.replace(" ...", "") for command in found]


def environment(folder: Path) -> dict[str, str]:
    """A shell in which `distlenet` and `mpirun` are those of this Python."""
    program = folder / "bin" / "distlenet"
    if not program.exists():
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m distlenet "$@"\n')
        program.chmod(0o755)
    path = f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }


def photograph(path: Path) -> None:
    """A digit, as dark on light."""
    from PIL import Image

    (picture,), _ = draw_digits(1, seed=7)
    Image.fromarray(255 - np.kron(picture, np.ones((8, 8), np.uint8))).save(path)


def test_commands_run(folder, monkeypatch):
    outputs = {}
    photograph(folder / "photo.jpg")
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
    for command in commands():
        cut_short = (folder / "runs/cut/checkpoints/last.h5").exists()  # where the machine is not too slow for it
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        killed = command.startswith("timeout -s KILL") and done.returncode in (-9, 137)
        assert done.returncode == 0 or killed, f"{command}\n{done.stdout}\n{done.stderr}"
        if cut_short and "runs/cut" in command and "--resume" in command:
            assert "resuming from" in done.stdout
        outputs[command] = done.stdout
    hashes = re.findall(r'"theta_sha256": "(\w+)"', outputs[next(c for c in outputs if c.startswith("grep"))])
    assert len(hashes) == 4
    assert len(set(hashes)) == 1

    monkeypatch.chdir(folder)
    for block in set(blocks("python")) - set(files().values()):
        names = {}
        exec(compile(block, "README.md", "exec"), names)
        assert names["theta"].size == 61706
        assert names["kernels"].shape == (6, 1, 5, 5)


@pytest.mark.parametrize("command", sorted(set(inline())))
def test_commands_in_the_text_are_right(command):
    """Those of the tables take minutes: their options, files and modules are known."""
    words = shlex.split(command)
    if words[0] == "mpirun":
        words = words[next(place for place, word in enumerate(words) if word in ("distlenet", "python")) :]
    if words[:2] == ["python", "-m"]:
        module = importlib.import_module(words[2])
        known = Path(module.__file__).read_text(encoding="utf-8")
        assert all(f'"{word}"' in known for word in words if word.startswith("--"))
    elif words[0] == "distlenet":
        assert words[1] in COMMANDS
        if words[2:] not in ([], ["--help"]):
            build_parser(words[1]).parse(words[1:])
    else:
        assert all((ROOT / word).exists() for word in words if "/" in word and "--" not in word)


def test_ci_runs_the_two_commands():
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(script in ci for script in BY_CI)


def test_every_subcommand_is_in_the_readme():
    assert [name for name in COMMANDS if f"distlenet {name}" not in README] == []
