"""The help: 80 columns, groups, examples; and what the shell completes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from distlenet.cli import COMMANDS, GROUPS, main
from distlenet.config import GROUPS as OPTION_GROUPS

COMPLETE = """
eval "$(register-python-argcomplete distlenet)"
while IFS= read -r line; do
    COMP_LINE=$line COMP_POINT=${#line} COMP_TYPE=9
    _python_argcomplete distlenet "" ""
    echo ${COMPREPLY[*]}
done
"""


@pytest.fixture
def help_of(monkeypatch, capsys):
    """``help_of("train")``: what a terminal of 80 columns shows."""
    monkeypatch.setenv("COLUMNS", "80")

    def show(*words):
        with pytest.raises(SystemExit) as left:
            main([*words, "--help"])
        assert left.value.code == 0
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("command", ["", *COMMANDS, "prepare csv", "prepare emnist"])
def test_it_fits_and_says_each_thing_in_full(command, help_of):
    message = help_of(*command.split())
    assert max(map(len, message.splitlines())) <= 80
    assert not re.search(r"\(default:\n|\w-\n", message)
    assert "==SUPPRESS==" not in message and "\x1b" not in message


def test_commands_are_listed_in_groups(help_of):
    message = help_of()
    places = [message.index(f"\n{title}:\n") for title in GROUPS]
    assert places == sorted(places)


@pytest.mark.parametrize("command", ["train", "repeat", "compare"])
def test_options_are_listed_in_groups(command, help_of):
    message = help_of(command)
    places = [message.index(f"\n{title}:\n") for title in OPTION_GROUPS]
    assert places == sorted(places) and "\noptions:\n" not in message
    for name, group in (("--run", 0), ("--rotate", 1), ("--model", 2), ("--lr", 3), ("--max-heals", 4)):
        assert places[group] < message.index(f"\n  {name} ") < [*places, len(message)][group + 1]


def test_launch_shows_the_help_of_the_command_behind_it(help_of):
    assert help_of("launch", "-n", "2", "train") == help_of("train")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_examples(command, help_of):
    assert f"\n\nexamples:\n  distlenet {command}" in help_of(command)


def test_the_shell_completes_words(tmp_path):
    pytest.importorskip("argcomplete")
    (tmp_path / "mine.h5").touch()
    expected = {
        "distlenet tr": "train",
        "distlenet ": " ".join(COMMANDS),
        "distlenet train --sch": "--schedule",
        "distlenet train --schedule c": "constant cosine",
        "distlenet train --data mi": "mine.h5",
        "distlenet train --on-divergence ": "heal stop ignore",
        "distlenet launch -n 2 tr": "train",
        "distlenet launch -n 2 train --optimizer n": "nesterov",
        "distlenet scale --ranks 1,2 train --optimizer n": "nesterov",
        "distlenet prepare em": "emnist",
    }
    folder = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-c", COMPLETE],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        cwd=tmp_path,
        input="\n".join(expected) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert dict(zip(expected, done.stdout.splitlines(), strict=True)) == expected
