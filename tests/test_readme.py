"""Every command of every README runs, in the order of the text, on little data; what the text names exists."""

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import get_args

import drawn
import mpi_jobs
import numpy as np
import pytest

from distlenet import errors
from distlenet.cli import COMMANDS, build_parser
from distlenet.data.sources.drawing import draw_digits
from distlenet.training.events import Event

ROOT = mpi_jobs.ROOT
READMES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for pattern in ("*.md", ".github/*.md", "scripts/*.md", "tests/*.md", "datasets/*.md", "distlenet/**/*.md")
    for path in sorted(ROOT.glob(pattern))
}
BY_CI = ("scripts/quickstart", "scripts/test")  # the checks on a bare machine run these
BLOCK = re.compile(r"```(sh|python)\n(.*?)```", re.DOTALL)
SMALLER = [  # the same commands, on less
    (r"--epochs \d+", "--epochs 1"),
    (r"repeat -n \d+", "repeat -n 2"),
    (r"prepare synthetic", "prepare synthetic --train 900 --test 200"),
    (r"--rounds \d+ --steps \d+", "--rounds 1 --steps 2"),
    (r"timeout -s KILL \d+", "timeout -s KILL 1"),
]
LINES, WORDS = 150, 1100  # the first page is read at one sitting


def blocks(text: str) -> list[tuple[str, str]]:
    """Return language and text of the blocks that run."""
    return BLOCK.findall(text)


def commands(block: str) -> list[str]:
    lines = [line.split("  #")[0].strip() for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith((". ", *BY_CI))]


def smaller(command: str) -> str:
    for pattern, instead in SMALLER:
        command = re.sub(pattern, instead, command)
    return command


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """What the READMEs expect: datasets/mnist.h5 (drawn digits), the run runs/first, a photograph."""
    if not (Path(sys.executable).parent / "mpirun").exists():
        pytest.skip("no mpirun next to this Python")
    base = tmp_path_factory.mktemp("readme")
    (base / "datasets").mkdir()
    drawn.write(base / "datasets/mnist.h5", 900, 200)
    train = ["train", "--data", base / "datasets/mnist.h5", "--recipe", "fast", "--run", base / "runs/first"]
    mpi_jobs.distlenet(*train, "--epochs", 1).expect()
    photograph(base / "photo.jpg")
    lines = [
        json.dumps({"pixels": image.tolist(), "label": int(label)})
        for image, label in zip(*draw_digits(60, seed=1), strict=True)
    ]
    (base / "digits.jsonl").write_text("\n".join(lines))
    program = base / "bin/distlenet"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m distlenet "$@"\n')
    program.chmod(0o755)
    return base


def photograph(path: Path) -> None:
    """Write a digit, dark on light."""
    from PIL import Image

    (picture,), _ = draw_digits(1, seed=7)
    Image.fromarray(255 - np.kron(picture, np.ones((8, 8), np.uint8))).save(path)


def run(command: str, folder: Path) -> mpi_jobs.Finished:
    """Run a line of a README; a plain command of this package in this process, which saves the start of another."""
    words = shlex.split(command)
    if words[0] == "distlenet" and words[1] != "launch" and not set("|>;&$*") & set(command):
        return mpi_jobs.distlenet(*words[1:], cwd=folder)
    started = time.monotonic()
    variables = mpi_jobs.environment(
        PATH=f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        PRTE_MCA_rmaps_default_mapping_policy=":oversubscribe",
        OMPI_MCA_mpi_yield_when_idle="1",
        PRTE_ALLOW_RUN_AS_ROOT="1",
        PRTE_ALLOW_RUN_AS_ROOT_CONFIRM="1",
    )
    done = subprocess.run(
        command, shell=True, cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False
    )
    return mpi_jobs.Finished(done.returncode, done.stdout, done.stderr, time.monotonic() - started, time.time())


@pytest.mark.parametrize("readme", [name for name, text in READMES.items() if blocks(text)])
def test_commands_run(readme, base, tmp_path, monkeypatch):
    folder = tmp_path / "readme"
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("runs") if readme == "README.md" else None)
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}  # what the Python blocks of one text have defined
    for language, block in blocks(READMES[readme]):
        if language == "python" and (name := re.match(r"# (\w+\.py)\n", block)):
            (folder / name[1]).write_text(block, encoding="utf-8")
        elif language == "python":
            exec(compile(block, readme, "exec"), names)
        for command in commands(block) if language == "sh" else []:
            if command == "distlenet prepare mnist" and not drawn.MNIST.is_dir():
                continue
            cut_short = "--resume" in command and (folder / "runs/cut/checkpoints/last.h5").exists()
            aside = move_away(command, folder)
            done = run(smaller(command), folder)
            killed = command.startswith("timeout -s KILL") and done.returncode in (-9, 137)
            assert done.returncode == 0 or killed, f"{command}\n{done.output}"
            assert not cut_short or "resuming from" in done.stdout
            for path in aside:
                path.with_name(f"{path.name}.small").replace(path)
            if command.startswith("grep theta_sha256"):
                hashes = re.findall(r'"theta_sha256": "(\w+)"', done.stdout)
                assert len(hashes) == len(command.split()) - 2
                assert len(set(hashes)) == 1, done.stdout
    if readme == "distlenet/runs/README.md":
        assert names["theta"].size == 61706
        assert names["kernels"].shape == (6, 1, 5, 5)


def move_away(command: str, folder: Path) -> list[Path]:
    """Let ``prepare`` make its file; the small one comes back after it."""
    path = folder / "datasets/mnist.h5"
    if command != "distlenet prepare mnist":
        return []
    path.replace(path.with_name(f"{path.name}.small"))
    return [path]


def inline() -> list[str]:
    """The commands that stand in the text and in the tables, as `code`; "..." stands for more."""
    found = []
    for text in READMES.values():
        plain = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        found += re.findall(r"`((?:mpirun|distlenet|python|scripts/test) [^`]+)`", plain)
    return [command.replace(" ...", "") for command in found]


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
    elif words[0] == "distlenet" and words[1].isupper():  # COMMAND
        return
    elif words[0] == "distlenet":
        assert words[1] in COMMANDS or words[1:] == ["--help"]
        if words[2:] not in ([], ["--help"]):
            build_parser(words[1]).parse(words[1:])
    else:
        assert all((ROOT / word).exists() for word in words if "/" in word and "--" not in word)


def test_ci_runs_the_two_commands():
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(script in ci for script in BY_CI)


def test_every_subcommand_is_in_a_readme():
    whole = "".join(READMES.values())
    assert [name for name in COMMANDS if f"distlenet {name}" not in whole] == []


def test_the_first_page_is_read_at_one_sitting():
    text = READMES["README.md"]
    assert text.count("\n") <= LINES
    assert len(text.split()) <= WORDS


def test_the_loop_is_as_short_as_promised():
    promised = int(re.search(r"the training loop is one file of (\d+) lines", READMES["README.md"])[1])
    lines = (ROOT / "distlenet/training/loop.py").read_text(encoding="utf-8").count("\n")
    assert abs(lines - promised) <= promised / 10


@cache
def anchors(path: Path) -> set[str]:
    """Return the anchors of a README's headings, as a host of repositories makes them."""
    headings = re.findall(
        r"^#+ (.*)", re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL), re.M
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("readme", READMES)
def test_links_lead_somewhere(readme):
    text = re.sub(r"```.*?```", "", READMES[readme], flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    for link in links:
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        place, _, anchor = link.partition("#")
        target = ((ROOT / readme).parent / place).resolve() if place else ROOT / readme
        assert target.exists(), f"{readme}: {link}"
        assert not anchor or anchor in anchors(target), f"{readme}: {link}"


def test_pictures_have_words():
    for readme, text in READMES.items():
        assert not re.search(r"!\[\s*\]\(", text), f"{readme}: a picture without an alternative text"
        assert all('alt="' in tag for tag in re.findall(r"<img[^>]*>", text)), readme


@pytest.mark.parametrize("room", ["nn", "data", "parallel", "training", "runs", "bench", "commands", "api"])
def test_rooms_lead_to_their_page(room):
    assert f"({room}/README.md)" in READMES["distlenet/README.md"]


def test_exit_codes_are_listed():
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")]
    listed = READMES["distlenet/runs/README.md"]
    assert [kind for kind in classes if kind.exit_code != 1 and f"| {kind.exit_code} | " not in listed] == []


def test_files_that_are_named_exist():
    """In the text, as `nn/net.py`: whole or the end of a path; user-defined files are those in the blocks."""
    files = [f"/{path.relative_to(ROOT)}" for path in ROOT.glob("[!.]*/**/*.py")]
    for readme, text in READMES.items():
        own = {"FILE.py", *re.findall(r"^# (\w+\.py)$", text, re.MULTILINE), "mynet.py"}
        named = re.findall(r"`([\w/]+\.py)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        lost = [name for name in named if name not in own and not any(path.endswith(f"/{name}") for path in files)]
        assert not lost, f"{readme} names files that are not there: {lost}"


def test_events_are_listed():
    listed = READMES["distlenet/training/README.md"]
    assert [kind.__name__ for kind in get_args(Event) if f"`{kind.__name__}`" not in listed] == []
