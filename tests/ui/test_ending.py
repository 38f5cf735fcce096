import io
import shutil
import sys

import pytest
from rich.console import Console

from distlenet.ui import ending
from distlenet.ui.ending import Ending, hints, program_name

SUMMARY = {
    "status": "complete",
    "test_accuracy": 0.9912,
    "test_error": 0.0088,
    "val_accuracy": None,
    "epochs": 20,
    "steps": 4300,
    "ranks": 2,
    "seconds": 65.2,
    "images_per_second": 38400.4,
    "run": "runs/[bold]\x1b[2J",
    "theta_sha256": "ab" * 32,
    "divergences": [{"kind": "spike", "epoch": 2, "action": "went back"}],
}
COMMANDS = [(f"distlenet evaluate {'long' * 20}", "each class"), ("distlenet report r", "one page")]


def render(what, width):
    console = Console(width=width, file=io.StringIO(), markup=False)
    console.print(what, crop=False)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 100, 120])
def test_the_result_and_what_is_next(width):
    text = render(Ending(SUMMARY, COMMANDS), width)
    folded = text.replace("\n", "")
    for part in ("complete, epochs: 20, steps: 4,300", "99.12%", "0.88%", "1m05s", "38,400", "ranks: 2"):
        assert part in folded
    assert "runs/[bold]\\x1b[2J" in folded and "\x1b" not in text
    assert "spike in epoch 3: went back" in folded
    assert "ab" * 6 in folded and "ab" * 7 not in folded
    assert "valid" not in text
    lines = text.splitlines()
    for command, _ in COMMANDS:  # whole, so that it can be copied
        assert any(line.strip().startswith(command) for line in lines)
    assert ("one page" in text) == (width == 120)
    assert len(text.splitlines()) <= 12


@pytest.mark.parametrize("status", ["stopped by SIGINT", "step 3: the loss is not finite"])
def test_other_ends_suggest_nothing(status):
    assert "report" not in render(Ending(SUMMARY | {"status": status}, COMMANDS), 80)


def test_an_empty_summary():
    assert render(Ending({}), 80).strip() == ""


def test_the_commands_can_be_typed(monkeypatch, tmp_path):
    environment = tmp_path / "my project/.venv/bin"
    environment.mkdir(parents=True)
    for name in ("python", "distlenet"):
        (environment / name).touch(0o755)
    monkeypatch.setattr(sys, "executable", str(environment / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path / "my project")
    assert program_name() == ".venv/bin/distlenet"
    monkeypatch.chdir(tmp_path)
    assert program_name() == "'my project/.venv/bin/distlenet'"
    monkeypatch.setattr(shutil, "which", lambda name: str(environment / name))
    assert program_name() == "distlenet"
    (environment / "distlenet").unlink()
    assert program_name() == f"'{environment}/python' -m distlenet"
    monkeypatch.setattr(ending, "program_name", lambda: "distlenet")
    assert hints("my run", "a b.h5")[0][0] == "distlenet evaluate 'my run' --data 'a b.h5'"
