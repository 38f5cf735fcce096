"""The checkpoint in the package: small, intact, and as accurate as documented."""

import json
from pathlib import Path

import pytest

import distlenet
from distlenet.cli import main
from distlenet.config import Config
from distlenet.errors import CheckpointError
from distlenet.recipes import build_config
from distlenet.runs.choice import PRETRAINED, find_checkpoint


def test_it_is_found_by_its_name():
    checkpoint = find_checkpoint("pretrained")
    assert checkpoint.path == PRETRAINED == Path(distlenet.__file__).parent / "pretrained.h5"
    assert checkpoint.theta.shape == (61_706,) and not checkpoint.optimizer
    assert PRETRAINED.stat().st_size < 260_000


def test_it_was_made_by_the_recipe():
    made, recipe = find_checkpoint("pretrained").config, build_config("best")
    assert isinstance(made, Config)
    assert {**made.to_dict(), "seed": 0} == {**recipe.to_dict(), "seed": 0}


def test_a_file_in_the_working_directory_is_not_used_instead(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrained").write_text("not a checkpoint")
    (tmp_path / "pretrained.h5").write_text("nor this")
    assert main(["inspect", "pretrained"]) == 0
    assert str(PRETRAINED) in capsys.readouterr().out
    assert main(["inspect", "./pretrained"]) == 5
    assert "pretrained is not" in capsys.readouterr().err


def test_a_run_directory_of_that_name_is_not_used_instead(tmp_path, monkeypatch):
    (tmp_path / "pretrained/checkpoints").mkdir(parents=True)
    (tmp_path / "pretrained/checkpoints/best.h5").write_text("not a checkpoint")
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("pretrained").path == PRETRAINED
    for own in ("./pretrained", Path("pretrained")):  # a path, not the word
        with pytest.raises(CheckpointError):
            find_checkpoint(own)


def test_its_accuracy(mnist, distlenet):
    assert (
        json.loads(distlenet("evaluate", "pretrained", "--data", mnist, "--json").expect().stdout)["accuracy"] >= 0.995
    )
