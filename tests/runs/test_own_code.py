"""Runs with a user-defined optimizer, schedule and augmentation: the same bits, resumes, faults."""

import json
import shutil
from pathlib import Path

import pytest
import sessions

from distlenet.runs.checkpoint_file import read_checkpoint
from distlenet.trust import Trust, source_sha256

OWN = Path(__file__).parent.parent / "own"
NAMED = {"optimizer": "lion.py:Lion", "schedule": "waves.py:waves", "augmentation": "erase.py:erase"}
FLAGS = {"epochs": 2, "batch_size": 96, "shards": 6, "lr": 0.002, "train_sample": 50, **NAMED}
TRUST = Trust.in_settings(FLAGS)
STEPS = 7  # of an epoch


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A copy of the examples as the working directory."""
    for path in OWN.glob("*.py"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(digits, run, ranks=1, act=lambda *_: None, **options):
    return sessions.train_run(digits, Path(run), ranks, act, **{"flags": FLAGS, "trust": TRUST, **options})


def sha256_of(run):
    return json.loads((Path(run) / "summary.json").read_text())["theta_sha256"]


def test_the_same_bits_on_any_number_of_ranks_interrupted_or_not(digits):
    train(digits, "whole").expect()
    train(digits, "two", 2).expect()
    train(digits, "parts", 3, sessions.stop_after(STEPS + 3, rank=1)).expect(130)
    train(digits, "parts", 2, resume="auto", flags={}).expect()
    assert sha256_of("whole") == sha256_of("two") == sha256_of("parts")


def test_the_code_of_a_run_is_recorded(digits):
    train(digits, "run", flags={**FLAGS, "epochs": 1}).expect()
    expected = {setting: source_sha256(name) for setting, name in NAMED.items()}
    assert json.loads(Path("run/summary.json").read_text())["own_code"] == expected
    assert read_checkpoint(Path("run/checkpoints/last.h5")).meta["code"] == expected
    more = {"resume": "auto", "flags": {"epochs": 2}, "override": ("epochs",)}
    for kind, name in NAMED.items():
        some = Trust(others=tuple(other for other in NAMED.values() if other != name))
        train(digits, "run", trust=some, **more).expect(3, f"as its {kind}", f"--{kind} {name}")
    Path("waves.py").write_text(Path("waves.py").read_text() + "\n# the same rates\n")
    train(digits, "run", **more).expect(3, "the code of waves.py:waves has changed", "--override schedule")
    train(digits, "run", **{**more, "override": ("epochs", "schedule")}).expect()


@pytest.mark.parametrize("ranks", [1, 3])
def test_an_augmentation_at_fault_on_one_rank_saves_the_run(digits, ranks):
    def spoil(rank, state, signals):
        if state.progress.steps == STEPS + 2:
            flag.touch()

    flag = Path("spoiled").absolute()
    text = f"import pathlib\n\n\ndef mine(images, random):\n    return images[pathlib.Path({str(flag)!r}).exists() :]\n"
    Path("mine.py").write_text(text)
    flags = {**FLAGS, "augmentation": "mine.py:mine"}
    options = {"flags": flags, "trust": Trust.in_settings(flags)}
    train(digits, "run", ranks, spoil, **options).expect(3, "augmentation mine.py:mine returned uint8 (15, 28, 28)")
    assert read_checkpoint(Path("run/checkpoints/last.h5")).progress.steps == STEPS + 2
    flag.unlink()
    train(digits, "run", resume="auto", **options).expect()
    train(digits, "undisturbed", **options).expect()
    assert sha256_of("run") == sha256_of("undisturbed")


LAYER = """import pathlib

from distlenet.nn import Dense, Flatten, Layer, Sequential


class Mine(Layer):
    def forward(self, x):
        return x{forward}

    def backward(self, dy):
        return dy{backward}


def build(input_shape, classes):
    return Sequential(input_shape, Flatten(), Dense(9), Mine(), Dense(classes))
"""


@pytest.mark.parametrize(
    ("forward", "backward", "says"),
    [
        ("[20]", "", "forward of an array of shape (9, 2) failed: IndexError: index 20 is out of bounds"),
        ("", " / None", "backward of an array of shape (9, 2) failed: TypeError: "),
        ("[1:]", "", "forward returned one of shape (8, 2), expected an array of shape (9, 2)"),
        ("", "[1:]", "backward returned one of shape (8, 2), expected an array of shape (9, 2)"),
    ],
)
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_layer_at_fault(digits, forward, backward, says, ranks):
    Path("net.py").write_text(LAYER.format(forward=forward, backward=backward))
    done = train(digits, "run", ranks, flags={"model": "net.py:build"}, trust=Trust("net.py:build"))
    done.expect(3, "model net.py:build: layer mine1 (Mine): ", says)
    assert not Path("run").exists()


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_layer_at_fault_on_one_rank_saves_the_run(digits, ranks):
    def spoil(rank, state, signals):
        if state.progress.steps == STEPS + 2:
            flag.touch()

    flag = Path("spoiled").absolute()
    Path("net.py").write_text(LAYER.format(forward=f"[pathlib.Path({str(flag)!r}).exists() :]", backward=""))
    options = {"flags": {**FLAGS, "model": "net.py:build"}, "trust": Trust("net.py:build", others=TRUST.others)}
    train(digits, "run", ranks, spoil, **options).expect(3, "model net.py:build: layer mine1 (Mine): forward returned")
    assert read_checkpoint(Path("run/checkpoints/last.h5")).progress.steps == STEPS + 2


@pytest.mark.parametrize("kind", ["optimizer", "schedule"])
def test_a_rule_at_fault_saves_the_run(digits, kind):
    if kind == "optimizer":
        text = Path("lion.py").read_text()
        Path("mine.py").write_text(text + f"        theta *= 1 / (self.steps != {STEPS + 3})\n")
    else:
        text = (
            "def Lion(peak, steps):\n    return lambda step: peak * step ** (-1 if step % 5 == 0 and step > 5 else 1)\n"
        )
        text = "def Lion(peak, steps):\n    return lambda step: peak / (not asked(step))\n\n\n"
        text += f"def asked(step, seen=[]):\n    seen.append(step)\n    return seen.count({STEPS + 2}) > 2\n"
        Path("mine.py").write_text(text)
    flags = {**FLAGS, kind: "mine.py:Lion"}
    options = {"flags": flags, "trust": Trust.in_settings(flags)}
    train(digits, "run", **options).expect(3, f"{kind} mine.py:Lion", "failed: ZeroDivisionError")
    assert read_checkpoint(Path("run/checkpoints/last.h5")).progress.steps == STEPS + 2


def test_ranks_with_other_code(digits, monkeypatch):
    from distlenet.runs import rank_comparison

    found = iter(range(2))
    monkeypatch.setattr(
        rank_comparison, "hash_code", lambda name: {name: f"{next(found)}"} if name == "waves.py:waves" else {}
    )
    train(digits, "run", 2).expect(3, "waves.py:waves with the source of", "copy the same code to every host")
