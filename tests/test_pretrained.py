"""The checkpoint in the package: small, intact, and as accurate as documented."""

import hashlib
import json
from pathlib import Path

import mpi_jobs
import pytest

import distlenet
from distlenet.cli import main
from distlenet.config import Config
from distlenet.errors import CheckpointError
from distlenet.recipes import build_config
from distlenet.runs.choice import PRETRAINED, find_checkpoint

THETA = "ce0bcb1479b0144f02ffb58fcca06f6d874fb9835711a433043b522ad25a2521"
FEW = {"forms": 6000, "others": 1500}
LATER = {"init": "runs/reality/checkpoints/last.h5", "epochs": 24, "lr": 0.006}
LATER |= {"disturb": 0.5, "rotate": 8.0, "zoom": 0.1, "shift": 0.5, "elastic": 0.7}


def sha256_of(checkpoint) -> str:
    return hashlib.sha256(checkpoint.averaged.astype("<f4").tobytes()).hexdigest()


def test_it_is_found_by_its_name():
    checkpoint = find_checkpoint("pretrained")
    assert checkpoint.path == PRETRAINED == Path(distlenet.__file__).parent / "pretrained.h5"
    assert checkpoint.theta.shape == (61_706,) and not checkpoint.optimizer
    assert PRETRAINED.stat().st_size < 260_000


def options(settings: dict) -> list[str]:
    return [word for name, value in settings.items() for word in (f"--{name}", f"{value}".removesuffix(".0"))]


def test_it_was_made_by_the_script():
    checkpoint, script = find_checkpoint("pretrained"), (mpi_jobs.ROOT / "scripts/pretrain").read_text()
    assert isinstance(checkpoint.config, Config) and checkpoint.config == build_config("reality", flags=LATER)
    assert checkpoint.meta["dataset"]["fingerprint"].startswith("58c0acbdd6ba")
    assert sha256_of(checkpoint) == THETA
    assert all(" ".join(options(settings)) in " ".join(script.replace("\\\n", "").split()) for settings in (FEW, LATER))


def test_it_is_made_again_to_the_bit(request, openmpi, mnist, distlenet, tmp_path):
    if not request.config.getoption("soak"):
        pytest.skip("a soak test: it takes a quarter of an hour, or more")
    many, few, first, second = (tmp_path / name for name in ("many.h5", "few.h5", "first", "second"))
    distlenet("prepare", "mnist-and-forms", "--out", many).expect()
    distlenet("prepare", "mnist-and-forms", *options(FEW), "--out", few).expect()
    later = options(LATER | {"init": first / "checkpoints/last.h5"})
    for words in (["--data", many, "--run", first], ["--data", few, "--run", second, *later]):
        words = ["train", "--recipe", "reality", *words, "--display", "quiet"]
        mpi_jobs.run(openmpi.command(2, "-m", "distlenet", *map(str, words)), timeout=7200).expect()
    assert sha256_of(find_checkpoint(str(second))) == THETA


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
