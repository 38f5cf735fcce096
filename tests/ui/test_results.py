import io
import json

import numpy as np
import pytest
from rich.console import Console

from distlenet.ui.results import Ending, Prediction, Reading, main, readings_json, show_reading

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
def test_the_result_and_the_next_commands(width):
    text = render(Ending(SUMMARY, COMMANDS), width)
    folded = text.replace("\n", "")
    for part in ("complete, epochs: 20, steps: 4,300", "99.12%", "0.88%", "1m05s", "38,400", "ranks: 2"):
        assert part in folded
    assert "runs/[bold]\\x1b[2J" in folded and "\x1b" not in text
    assert "spike in epoch 3: went back" in folded
    assert "ab" * 6 in folded and "ab" * 7 not in folded
    assert "valid" not in text
    lines = text.splitlines()
    for command, _ in COMMANDS:  # on one line, so that it can be copied
        assert any(line.strip().startswith(command) for line in lines)
    assert ("one page" in text) == (width == 120)
    assert len(text.splitlines()) <= 12


@pytest.mark.parametrize("status", ["stopped by SIGINT", "step 3: the loss is not finite"])
def test_other_ends_suggest_nothing(status):
    assert "report" not in render(Ending(SUMMARY | {"status": status}, COMMANDS), 80)


def test_an_empty_summary():
    assert render(Ending({}), 80).strip() == ""


def test_the_end_of_quickstart(tmp_path, capsys):
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY))
    main(str(tmp_path), "datasets/mnist.h5")
    message = capsys.readouterr().out
    assert "99.12%" in message
    for command in ("report", "predict", "draw"):
        assert f"distlenet {command} {tmp_path}" in message


@pytest.mark.parametrize("content", [None, "[1]", "{", "[" * 5000, "\udcff"])
def test_a_summary_that_cannot_be_read_ends_in_a_sentence(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "summary.json").write_text(content, errors="surrogateescape")
    main(str(tmp_path), "datasets/mnist.h5")
    assert capsys.readouterr().err.startswith(f"distlenet: note: cannot read {tmp_path}/summary.json: ")


def test_an_answer_that_is_not_sure_is_a_question(capsys):
    image, box = np.zeros((28, 28), np.uint8), (0, 0, 9, 9)
    sure = Prediction([("3", 0.5), ("8", 0.3), ("5", 0.2)], box, image)
    unsure = Prediction([("1", 0.49), ("7", 0.45), ("4", 0.06)], box, image)
    readings = [Reading("a.png", [sure]), Reading("b.png", [unsure]), Reading("c.png", [sure, unsure])]
    for reading in readings:
        show_reading(reading, pictures=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a.png: 3 50.00 %  8 30.00 %  5 20.00 %"
    assert lines[1] == "b.png: not sure: 1 or 7?  1 49.00 %  7 45.00 %  4 6.00 %"
    assert lines[2] == "c.png: 3?"
    found = json.loads(readings_json(readings))
    assert [digit["label"] for digit in found] == ["3", None, "3", None]
    assert found[1]["top"][1] == {"label": "7", "probability": 0.45}
