"""The journal: whole lines of JSON that are only appended; after a resume none counts twice."""

import json
import math
import os
from types import SimpleNamespace

import pytest

from distlenet.runs.journal import Journal, origin
from distlenet.runs.record import counting, read_lines
from distlenet.training.events import Diverged, Notice, RunFinished, RunStarted, StepDone


def state_of(steps):
    """Return the part of a state that a journal uses."""
    return SimpleNamespace(progress=SimpleNamespace(steps=steps))


def open_journal(path, every=1, steps=0):
    state = state_of(steps)
    return Journal(path, state, every), state


def steps(journal, state, first: int, last: int) -> None:
    for step in range(first, last):
        state.progress.steps = step + 1
        journal.on(StepDone(0, step, 0.1, 1 / 3, 0.5, 64, 0.01, 0.0))


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def counted(path) -> list[dict]:
    """The lines of steps and epochs that count, in the order of the run."""
    found, _ = read_lines(path)
    both = [*counting(found, "step"), *counting(found, "epoch")]
    return sorted(both, key=lambda line: (line["steps"], line["kind"] == "epoch"))


def test_one_object_a_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal, state = open_journal(path, every=3)
    journal.on(RunStarted("a title\nof two lines", {"ranks": "é"}, 1, 10, 0, 0))
    steps(journal, state, 0, 10)
    journal.on(Notice("a \u2028 strange\r\nnotice"))
    assert len(lines(path)) == 5  # at once, not when the run is over
    journal.on(RunFinished({"status": "complete"}))
    assert [line["kind"] for line in lines(path)] == ["start", "step", "step", "step", "notice", "end"]
    assert [line["steps"] for line in lines(path)] == [0, 3, 6, 9, 10, 10]
    assert lines(path)[1]["loss"] == 1 / 3


def test_a_resumed_run_adds_to_its_journal_after_a_torn_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal, state = open_journal(path)
    steps(journal, state, 0, 5)
    journal.on(RunFinished({"status": "stopped"}))
    with path.open("a") as file:
        file.write('{"kind": "step", "st')  # a kill in the middle of a line
    before = path.read_bytes()
    journal, state = open_journal(path, steps=3)
    assert journal.complete([]) == []  # damaged lines of steps are skipped by readers
    journal.on(RunStarted("", {}, 1, 10, 0, 3))
    assert [line["steps"] for line in counted(path)] == [1, 2, 3]
    steps(journal, state, 3, 5)
    journal.on(RunFinished({"status": "complete"}))
    assert [line["steps"] for line in counted(path)] == [1, 2, 3, 4, 5]
    assert path.read_bytes().startswith(before + b'\n{"kind": "start", "steps": 3,')


def test_a_run_that_went_back_says_why(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal, state = open_journal(path)
    steps(journal, state, 0, 5)
    state.progress.steps = 2
    journal.on(Diverged(1, {"kind": "spike", "action": "gone back"}, "", {}, (2, 0)))
    assert lines(path)[-1] == {"kind": "divergence", "steps": 2, "cause": "spike", "action": "gone back"}
    assert [line["steps"] for line in counted(path)] == [1, 2]


def test_epochs_that_are_missing_come_from_the_history(tmp_path):
    history = [{"epoch": n, "step": 5 * (n + 1), "running": {"loss": 1.0 - n / 10}, "seconds": 2.0} for n in range(3)]
    path = tmp_path / "journal.jsonl"
    epochs = [{"kind": "epoch", "steps": entry["step"], **entry} for entry in history]
    each = [{"kind": "step", "steps": n, "epoch": (n - 1) // 5, "loss": 1 / n} for n in range(1, 18)]
    whole = sorted([*each, *epochs], key=lambda line: (line["steps"], line["kind"] == "epoch"))

    def complete(given, added):
        path.write_text("".join(json.dumps(line) + "\n" for line in given))
        open_journal(path, steps=16)[0].complete(history)
        assert lines(path) == [*given, *added]
        return counted(path)

    assert complete(whole, []) == whole
    assert complete([line for line in whole if line != epochs[1]], epochs[1:]) == whole  # one that a full disk refused
    timed = [line | {"seconds": 3.0} if line in epochs else line for line in whole]
    assert complete(timed, []) == timed
    # a different course from the second epoch
    other = [line | {"running": {"loss": 9.0}} if line in epochs[1:] else line for line in whole]
    assert complete(other, [{"kind": "back", "steps": 5}, *epochs[1:]]) == [*whole[:6], *epochs[1:]]
    assert complete([], epochs) == epochs
    strange = {"kind": "epoch", "steps": 5, "epoch": {"a": 1}, "running": [1]}
    assert complete([strange], epochs) == epochs


def test_a_journal_longer_than_any_run_s_is_only_added_to(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text('{"kind": "notice", "steps": 1}\n' * 10_001)
    journal, state = open_journal(path, steps=8)
    assert journal.complete([{"epoch": 0, "step": 6}]) == []
    steps(journal, state, 8, 9)
    assert lines(path)[10_001:] == [lines(path)[-1]] and lines(path)[-1]["steps"] == 9


def test_lines_that_a_full_disk_refuses_are_written_later(tmp_path, monkeypatch):
    path, told = tmp_path / "journal.jsonl", []
    write, state = os.write, state_of(0)
    journal = Journal(path, state, 1, told.append)
    monkeypatch.setattr(os, "write", lambda file, line: write(file, line[:5]))
    steps(journal, state, 0, 3)
    assert path.read_bytes() == b"" and len(told) == 1 and "disk is full" in told[0].text
    monkeypatch.undo()
    steps(journal, state, 3, 4)
    assert [line["steps"] for line in lines(path)] == [1, 2, 3, 4]


def test_of_a_run(trained):
    found = lines(trained / "journal.jsonl")
    assert found[0]["kind"] == "start"
    assert found[-1] == {"kind": "end", "steps": found[-1]["steps"], "status": "complete"}
    epochs = [line for line in found if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [0, 1]
    assert all(math.isfinite(line["running"]["loss"]) for line in epochs)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["/usr/bin/distlenet", "train", "--run", "a b"], "distlenet train --run 'a b'"),
        (["/lib/distlenet/__main__.py", "train"], "distlenet train"),
        (["/lib/pytest/__main__.py", "tests"], None),  # a program of another's, as a notebook is
        ([], None),
    ],
)
def test_a_start_tells_date_host_and_the_command_of_distlenet(words, command, monkeypatch):
    monkeypatch.setattr("sys.argv", words)
    found = origin()
    assert found.get("command") == command and found["date"].startswith("20") and found["host"]
