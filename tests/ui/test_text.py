import math
import shutil
import sys

import pytest

from distlenet.ui import text as module
from distlenet.ui.text import duration, flow, hints, milliseconds, number, percent, program_name


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
    monkeypatch.setattr(module, "program_name", lambda: "distlenet")
    assert hints("my run", "a b.h5")[0][0] == "distlenet evaluate 'my run' --data 'a b.h5'"


def test_a_user_defined_network_is_named_in_the_commands():
    for command, _ in hints("r", "a.h5", model="my net.py:build"):
        assert command.endswith(" --model 'my net.py:build'")
    for model in (None, "lenet5"):
        assert not any("--model" in command for command, _ in hints("r", "a.h5", model=model))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (0.4, "0s"), (59.6, "1m00s"), (185, "3m05s"), (7800, "2h10m"), (100800, "1d04h")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_percent():
    assert percent(0.98765) == "98.77%"
    assert percent(0.021, 1) == "2.1%"
    assert percent(None) == "-"


def test_figures():
    assert [number(value) for value in (None, 0.02134, 123456.7, math.nan)] == ["-", "0.0213", "1.235e+05", "nan"]
    assert [milliseconds(value) for value in (None, 0.00472, 0.0999, 0.25, 12.5)] == [
        "-",
        "4.72",
        "99.90",
        "250",
        "12,500",
    ]


def test_flow():
    assert flow(["aa", "bb", "cc"], 7) == ["aa   bb", "cc"]
    assert flow(["abcdefgh"], 3) == ["abc"]
    assert flow([], 3) == []
