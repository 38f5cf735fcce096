import json

import pytest

from distlenet.training.outcome import read_outcome

COMPLETE = {"status": "complete", "failure": None, "test_accuracy": 0.98, "test_error": 0.02, "test_chance": 0.11}
COMPLETE |= {"val_accuracy": 0.97, "parameters": 61706}


def epoch(number, seconds, images=1000, part=1.0):
    """Return an epoch's line, of which ``part`` was trained since the last resume."""
    return {
        "kind": "epoch",
        "epoch": number,
        "step": 10 * (number + 1),
        "steps": 10 * (number + 1),
        "seconds": seconds * part,
        "evaluation_seconds": 0.5,
        "images_per_second": images / seconds,
        "running": {"count": images},
    }


def write(folder, summary, lines=()):
    folder.mkdir(exist_ok=True)
    (folder / "summary.json").write_text(summary if isinstance(summary, str) else json.dumps(summary))
    (folder / "journal.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return read_outcome("fast", 3, str(folder))


def test_figures(tmp_path):
    found = write(tmp_path, COMPLETE, [{"kind": "start"}, epoch(0, 2.0), {"kind": "step"}, epoch(1, 4.0)])
    assert (found.setting, found.seed, found.defect) == ("fast", 3, None)
    expected = {"test_accuracy": 0.98, "test_error": 0.02, "val_accuracy": 0.97, "parameters": 61706}
    expected |= {"seconds": 7.0, "training_seconds": 6.0, "validation_seconds": 1.0, "epoch_seconds": 3.5}
    expected |= {"step_seconds": 0.3, "images_per_second": 2000 / 6}
    assert found.figures == pytest.approx(expected)


def test_an_interrupted_epoch_counts_whole(tmp_path):
    whole = write(tmp_path, COMPLETE, [epoch(0, 2.0)])
    assert write(tmp_path, COMPLETE, [epoch(0, 2.0, part=0.25)]).figures == pytest.approx(whole.figures)


def test_damaged_lines_are_left_out(tmp_path):
    write(tmp_path, COMPLETE, [epoch(0, 2.0)])
    with (tmp_path / "journal.jsonl").open("a") as journal:
        journal.write('{"kind": "ep\n[]\n5\n')
    assert read_outcome("fast", 3, str(tmp_path)).figures["seconds"] == 2.5


@pytest.mark.parametrize(
    ("change", "defect"),
    [
        ({"test_accuracy": 0.1135, "test_chance": 0.1135}, "at chance"),
        ({"test_accuracy": 0.19, "test_chance": 0.1135}, "at chance"),
        ({"test_accuracy": 0.25, "test_chance": 0.1135}, None),
        ({"test_accuracy": 0.905, "test_chance": 0.9}, "at chance"),  # nine of ten are of one class
        ({"test_accuracy": 0.92, "test_chance": 0.9}, None),
        ({"status": "epoch 1, step 3: NaN", "failure": "NonFiniteError"}, "non-finite"),
    ],
)
def test_defects(tmp_path, change, defect):
    assert write(tmp_path, COMPLETE | change).defect == defect


@pytest.mark.parametrize(
    "summary",
    [
        COMPLETE | {"status": "stopped by SIGINT", "failure": "Stopped"},
        COMPLETE | {"status": "disk full", "failure": "RunDirectoryError"},
        '{"status": "comp',
        "[]",
        "{}",
    ],
)
def test_not_over(tmp_path, summary):
    assert write(tmp_path, summary) is None
    assert read_outcome("fast", 3, str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("divergences", "heals"),
    [
        (None, 0),
        ([], 0),
        ([{"kind": "spike", "action": "gone back to epoch 1, step 1"}], 1),
        ([{"action": "gone back to epoch 2, step 1"}] * 2 + [{"action": "stopped"}], 2),
        ({"action": "gone back"}, 0),
        ([3], 0),
    ],
)
def test_heals_are_counted(tmp_path, divergences, heals):
    assert write(tmp_path, COMPLETE | {"divergences": divergences}).heals == heals
    summary = {key: value for key, value in COMPLETE.items() if key != "divergences"}
    assert write(tmp_path, summary).heals == 0
