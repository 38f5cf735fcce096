"""What counts of a journal: nothing twice, nothing that was gone back from, nothing that is damaged."""

import pytest

from distlenet.runs.record import counting, number, read_lines


def line(kind, steps, **more):
    return {"kind": kind, "steps": steps, **more}


def steps_of(lines, kind):
    return [entry["steps"] for entry in counting(lines, kind)]


def test_a_run_that_went_straight():
    lines = [line("start", 0), line("step", 5), line("step", 10), line("epoch", 10, epoch=0), line("step", 15)]
    lines += [line("notice", 15), line("step", 20), line("epoch", 20, epoch=1), line("end", 20)]
    assert steps_of(lines, "step") == [5, 10, 15, 20] and steps_of(lines, "epoch") == [10, 20]


@pytest.mark.parametrize("kind", ["start", "divergence"])
def test_steps_that_a_run_went_back_from_do_not_count(kind):
    before = [line("step", 5), line("step", 10), line("epoch", 10, loss=1), line("step", 15), line("epoch", 20)]
    again = [line("step", 10, loss=2), line("epoch", 10, loss=2)]
    assert steps_of([*before, line(kind, 7)], "step") == [5]
    assert steps_of([*before, line(kind, 7)], "epoch") == []
    assert counting([*before, line(kind, 7), *again], "step") == [before[0], again[0]]
    assert counting([*before, line(kind, 10), *again], "epoch") == [again[1]]  # the evaluation was done again
    assert counting([*before, *again], "epoch") == [again[1]]  # and without a line that says so


def test_an_epoch_that_was_made_up_for_takes_no_step_away():
    lines = [line("step", 10), line("step", 15), line("epoch", 10, epoch=0)]
    assert steps_of(lines, "step") == [10, 15] and steps_of(lines, "epoch") == [10]


def test_damaged_lines_are_counted(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"kind": "step", "steps": 5}\n{"kind": "st\n[]\n7\n\xff\n{"steps": 3}\n' + b"[" * 5000)
    assert read_lines(path) == ([line("step", 5)], [f"{path} has 6 damaged lines: left out"])
    assert counting([line("step", "5"), line("step", None), line("step", float("nan")), {"kind": "step"}], "step") == []


def test_numbers():
    entry = {"loss": 0.5, "test": None, "count": 3, "deep": {"a": 2}, "good": True, "bad": float("inf"), "text": "1"}
    assert [number(entry, key) for key in ("loss", "count", "test", "good", "bad", "text", "none")] == [
        *(0.5, 3.0),
        *[None] * 5,
    ]
    assert number(entry, "deep", "a") == 2 and number(entry, "loss", "a") is None
