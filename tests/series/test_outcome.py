import json

import pytest
import sessions

from distlenet.runs.record import read_record
from distlenet.series.outcome import read_outcome, summarize_series
from distlenet.series.table import as_text, comparison_rows, line, repeat_rows

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


def test_an_epoch_that_was_resumed_in_its_evaluation_has_no_speed(tmp_path):
    untimed = epoch(1, 2.0) | {"images_per_second": 0.0}
    figures = write(tmp_path, COMPLETE, [epoch(0, 2.0), untimed, epoch(2, 3.0)]).figures
    assert figures["images_per_second"] == pytest.approx(2000 / 5)
    assert figures["training_seconds"] == pytest.approx(7.5)  # the second as long as the others are on average
    assert figures["step_seconds"] == pytest.approx(0.25)
    nothing = write(tmp_path, COMPLETE, [untimed | {"epoch": 0, "step": 10, "steps": 10}])
    assert nothing.figures["validation_seconds"] == 0.5
    assert not {"seconds", "training_seconds", "epoch_seconds", "step_seconds", "images_per_second"} & set(
        nothing.figures
    )
    results = summarize_series([nothing])
    assert "images/s" not in as_text(repeat_rows(results))
    assert "98.00 %" in as_text(comparison_rows(results))
    assert "98.00 %" in line(results["runs"][0])


@pytest.mark.parametrize("step", [2, 3])
def test_a_run_of_one_epoch_stopped_at_its_end(digits, tmp_path, step):
    # in its last step, and in its evaluation: the resuming process has nothing to train
    flags = {"epochs": 1, "batch_size": 240, "shards": 6, "lr": 0.03, "train_sample": 50}  # 3 steps
    assert sessions.train_run(digits, tmp_path, 1, sessions.stop_after(step), flags=flags).code == 130
    assert sessions.train_run(digits, tmp_path, 1, resume="auto").code == 0
    assert [entry["images_per_second"] for entry in read_record(tmp_path).epochs] == [0.0]
    assert "images_per_second" not in read_outcome("fast", 1, str(tmp_path)).figures


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
