"""A user-defined network, on pictures of any shape and from 2 to 62 classes: train, evaluate, resume."""

import hashlib
import json

import drawn
import mpi_jobs
import numpy as np
import pytest

from distlenet.data.sources.drawing import draw_digits
from distlenet.nn import MODELS

NET = """from distlenet.nn import Conv2d, Dense, ELU, Flatten, MaxPool2d, Sequential


def build(input_shape, classes):
    return Sequential(
        input_shape,
        *(Conv2d(8, 3), ELU(), MaxPool2d(2)),
        *(Flatten(), Dense(32), ELU(), Dense(classes)),
    )
"""
SHA256 = hashlib.sha256(NET.encode()).hexdigest()
SHORT = ["--epochs", 2, "--batch-size", 64, "--display", "plain"]


@pytest.fixture(scope="module", params=[2, 62])
def wide(request, tmp_path_factory):
    """Pictures of 20 x 30 pixels in that many classes: a digit, and where it stands."""
    classes = request.param
    path = tmp_path_factory.mktemp("data") / f"wide-{classes}.h5"

    def draw(count, seed):
        images, digits = draw_digits(count, seed=seed)
        place = np.arange(count) % 7
        wide = np.zeros((count, 20, 30), np.uint8)
        for i in range(count):
            wide[i, :, place[i] : place[i] + 20] = images[i, 4:24, 4:24]
        return wide, ((digits.astype(int) * 7 + place) % classes).astype(np.uint8)

    names = [f"class {i}" for i in range(classes)]
    return drawn.write(path, draw(900, 1), draw(400, 2), names), classes


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mynet.py").write_text(NET)
    return tmp_path


def start(folder, *words, **where):
    return mpi_jobs.distlenet(*words, cwd=folder, **where)


def test_trained_on_ranks_evaluated_and_resumed(any_mpi, wide, folder, only_sentence, summary_of):
    data, classes = wide
    train = ["train", "--model", "mynet.py:build", "--data", data, *SHORT, "--seed", 3]
    for run, more in (("one", {}), ("two", {"runtime": any_mpi, "ranks": 2})):
        start(folder, *train, "--run", run, **more).expect()
    assert summary_of(folder / "one")["theta_sha256"] == summary_of(folder / "two")["theta_sha256"]
    named = ["evaluate", "two", "--data", data, "--model", "mynet.py:build"]
    found = json.loads(start(folder, *named, "--json", runtime=any_mpi, ranks=2).expect().stdout)
    assert found["accuracy"] == summary_of(folder / "two")["test_accuracy"]
    assert np.array(found["confusion"]).shape == (classes, classes)
    shown = start(folder, "evaluate", "two", "--data", data, "--trust-code").expect()
    assert f"class {classes - 1}" in shown.stdout
    assert f"running mynet.py:build ({folder}/mynet.py, SHA-256 {SHA256})" in shown.stderr
    refused = start(folder, "evaluate", "two", "--data", data, runtime=any_mpi, ranks=2)
    only_sentence(refused, 3, "two/checkpoints/best.h5", "mynet.py:build", SHA256)
    again = [*train, "--run", "two", "--epochs", 3, "--override", "epochs", "--resume"]
    start(folder, *again, runtime=any_mpi, ranks=2).expect()

    (folder / "mynet.py").write_text(f"{NET}\n# the same layers\n")
    changed = "mynet.py:build has changed since two/checkpoints/best.h5 was trained"
    assert changed in start(folder, *named).expect().stderr
    more = [*train, "--run", "two", "--epochs", 4, "--override", "epochs", "--resume"]
    only_sentence(start(folder, *more), 3, "the code of mynet.py:build has changed", SHA256[:12], "--override model")
    assert "the code of mynet.py:build has changed" in start(folder, *more, "--override", "model").expect().output
    for text, words in (
        (NET.replace("ELU(), MaxPool2d", "Tanh(), MaxPool2d").replace("ELU,", "ELU, Tanh,"), ["elu1", "Tanh"]),
        (NET.replace("Dense(32)", "Dense(33)"), ["mynet.py:build"]),
        (None, ["there is no model file", "mynet.py"]),
    ):
        (folder / "mynet.py").unlink()
        if text:
            (folder / "mynet.py").write_text(text)
        only_sentence(start(folder, *named), 5, *words)


@pytest.mark.parametrize("model", [name for name in MODELS if name != "lenet5-1998"])  # whose outputs are ten digits
def test_every_model_trains_on_pictures_that_are_not_square(model, wide, folder, summary_of):
    data, classes = wide
    if classes == 62:
        start(folder, "train", "--model", model, "--data", data, *SHORT, "--epochs", 1, "--run", "run").expect()
        assert summary_of(folder / "run")["status"] == "complete"


def test_code_that_fails_is_one_sentence_on_every_rank(openmpi, digits, folder, only_sentence):
    (folder / "bad.py").write_text("def build(input_shape, classes):\n    return 1 / 0\n")
    done = start(folder, "train", "--model", "bad.py:build", "--data", digits, "--run", "run", runtime=openmpi, ranks=2)
    only_sentence(done, 3, "bad.py:build failed", "ZeroDivisionError")


def test_summary(folder, digits, only_sentence):
    done = start(folder, "summary", "mynet.py:build", "--data", digits).expect()
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["conv1", "Conv2d", "8", "x", "26", "x", "26", "80"] in lines
    assert lines[-1] == ["total", f"{80 + 8 * 13 * 13 * 32 + 32 + 330:,}"]
    found = json.loads(start(folder, "summary", "--input", "20x30", "--classes", "2", "--json").stdout)
    assert found["input"] == [1, 20, 30]
    assert found["layers"][-1] == {"name": "output", "kind": "Dense", "shape": [2], "parameters": 170}
    only_sentence(start(folder, "summary", "--input", "28x"), 2, "'28x', expected ROWSxCOLUMNS like 20x30")
    only_sentence(start(folder, "summary", "lenet6"), 3, "did you mean 'lenet5'")
