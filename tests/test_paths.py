"""Paths given by the user: a leading ``~`` is always a home directory, and an empty word is refused."""

import argparse
import os
import pwd

import pytest

from distlenet import cli
from distlenet.data.file.writer import silent
from distlenet.data.sources.published import read_mnist
from distlenet.errors import ConfigError, DataError
from distlenet.paths import as_path, code_path, path, path_or
from distlenet.recipes import build_config

PATHS = ("DIR", "FILE", "RUN", "PATH", "IMAGE", "NETWORK", "CHECKPOINT")  # words in a metavar or destination


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def parsers(parser):
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


def takes_path(action):
    words = f"{action.metavar or ''} {'' if action.option_strings else action.dest}".upper()
    for mark in "|._":
        words = words.replace(mark, " ")
    plain = action.nargs == argparse.REMAINDER or isinstance(action.nargs, int) or isinstance(action.const, bool)
    return not plain and bool(set(words.split()) & set(PATHS))


def options():
    return [
        pytest.param(action, id=f"{command} {action.option_strings or action.dest}")
        for command in cli.COMMANDS
        for parser in parsers(cli.build_parser(command))
        for action in parser._actions
        if takes_path(action)
    ]


def test_the_options_that_take_a_path_are_found():
    found = " ".join(parameter.id for parameter in options())
    for command in ("train", "repeat", "compare", "evaluate", "summary"):
        assert f"{command} ['--data']" in found
    for name in ("'--run'", "'--config'", "'--resume'", "'--out'", "'--from'", "'--test'", "'--to'", "'--csv'"):
        assert name in found
    for command in ("inspect", "evaluate", "predict", "draw", "export"):
        assert f"{command} checkpoint" in found


@pytest.mark.parametrize("action", options())
def test_every_path_has_one_rule(home, action):
    assert str(action.type("~/a")) == f"{home}/a"
    with pytest.raises(argparse.ArgumentTypeError):
        action.type("~nobody-of-that-name/a")


@pytest.mark.parametrize("kind", [path, as_path, code_path, path_or("-")])
def test_a_home_is_expanded(home, kind):
    user = pwd.getpwuid(os.getuid())
    assert str(kind("~/runs/a")) == f"{home}/runs/a"
    assert str(kind("~")) == str(home)
    assert str(kind(f"~{user.pw_name}/a")) == f"{user.pw_dir.rstrip('/')}/a"
    for name in ("runs/~", "./~", "a~b", "runs/~/a", " a"):
        assert os.path.normpath(kind(name)) == os.path.normpath(name)  # a file of that name


@pytest.mark.parametrize("word", ["", " ", "\t\n", "a\0b", "~nobody-of-that-name/a"])
def test_no_path(home, word):
    with pytest.raises(argparse.ArgumentTypeError):
        path(word)


def test_an_unknown_home(monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda text: text)  # no HOME, and no entry for the user
    with pytest.raises(argparse.ArgumentTypeError, match="set HOME"):
        path("~/a")


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--run", ""],
        ["train", "--run="],
        ["train", "--run", "a", "--data", " "],
        ["train", "--run", "a", "--resume", ""],
        ["train", "--run", "a", "--config", ""],
        ["repeat", "-n", "2", "--run", ""],
        ["report", ""],
        ["report", "a", "--out", ""],
        ["journal", "a", "--csv", ""],
        ["export", "a", "--to", ""],
        ["prepare", "mnist", "--out", ""],
        ["doctor", "--run", ""],
        ["summary", ""],
        ["predict", "", "a.png"],
        ["evaluate", ""],
        ["inspect", "~nobody-of-that-name"],
    ],
    ids=" ".join,
)
def test_invalid_paths_are_refused_and_nothing_is_created(home, capsys, words):
    assert cli.main(words) == 2
    message = capsys.readouterr().err
    assert message.startswith("distlenet: error:") and message.count("\n") == 1
    assert "is empty" in message or "no user" in message
    assert os.listdir() == ["home"]


def test_in_one_word_with_its_option(home, digits, capsys):
    words = ["--epochs=0", "--display=quiet", "--batch-size=64", "--shards=4"]
    assert cli.main(["train", "--run=~/runs/a", f"--data={digits}", *words]) == 0
    assert (home / "runs/a/summary.json").is_file()
    assert cli.main(["train", "--run=~/runs/a", f"--data={digits}", "--resume=~/runs/a/none.h5"]) == 5
    assert f"{home}/runs/a/none.h5" in capsys.readouterr().err
    assert cli.main(["train", "--run=b", f"--data={digits}", "--model=~/mynet.py:build"]) == 3
    assert f"there is no model file {home}/mynet.py" in capsys.readouterr().err  # named here, and so trusted
    assert os.listdir() == ["home"]


def test_a_user_defined_network(home):
    (home / "own.toml").write_text('model = "~/mynet.py:build"\n')
    for config in (
        build_config(file=home / "own.toml"),
        build_config(flags={"model": "~/mynet.py:build"}),
        build_config(flags={"model": "~/mynet.py:build"}, base={"lr": 0.5}),
    ):
        assert config.model == f"{home}/mynet.py:build"
    with pytest.raises(ConfigError, match="there is no user 'nobody-of-that-name'"):
        build_config(flags={"model": "~nobody-of-that-name/mynet.py:build"})


def test_the_environment(home, monkeypatch):
    for word, message in (("~/mnist", f"{home}/mnist"), (" ", "is empty"), ("~nobody-of-that-name", "no user")):
        monkeypatch.setenv("DISTLENET_MNIST", word)
        with pytest.raises(DataError, match=message):
            read_mnist(None, silent)
