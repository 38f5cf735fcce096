"""The journal: whole lines of JSON, and none of them twice after a resume."""

import json
import math
from types import SimpleNamespace

from distlenet.training.events import Notice, RunFinished, RunStarted, StepDone
from distlenet.training.journal import Journal


def steps(journal: Journal, first: int, last: int) -> None:
    for step in range(first, last):
        journal.on(StepDone(0, step, 0.1, 1 / 3, 0.5, 64, 0.01, 0.0))


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_object_a_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, every=3)
    journal.on(RunStarted("a title\nof two lines", {"ranks": "é"}, 1, 10, 0, 0))
    steps(journal, 0, 10)
    journal.on(Notice("a \u2028 strange\r\nnotice"))
    assert len(lines(path)) == 5  # at once, not when the run is over
    journal.on(RunFinished({"status": "complete"}))
    assert [line["kind"] for line in lines(path)] == ["start", "step", "step", "step", "notice", "end"]
    assert [line["steps"] for line in lines(path)] == [0, 3, 6, 9, 10, 10]
    assert lines(path)[1]["loss"] == 1 / 3


def test_cut(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, every=1)
    steps(journal, 0, 5)
    journal.on(RunFinished({"status": "stopped"}))
    with path.open("a") as file:
        file.write('{"kind": "step", "st')  # a kill in the middle of a line
    Journal.cut(path, 3, 1)
    assert [line["steps"] for line in lines(path)] == [1, 2, 3]
    journal = Journal(path, every=1, start=3)
    steps(journal, 3, 5)
    journal.on(RunFinished({"status": "complete"}))
    assert [line["steps"] for line in lines(path)] == [1, 2, 3, 4, 5, 5]


def test_cut_of_nothing(tmp_path):
    path = tmp_path / "journal.jsonl"
    Journal.cut(path, 3, 1)
    assert not path.exists()
    path.write_bytes(b"\xff\xfe\n[1]\n3\n\n")
    Journal.cut(path, 3, 1)
    assert path.read_text() == ""


def test_a_history_is_made_up_for(tmp_path):
    history = [{"epoch": n, "step": 5 * (n + 1), "running": {"loss": 1.0 - n / 10}, "seconds": 2.0} for n in range(3)]
    path, old = tmp_path / "journal.jsonl", tmp_path / "old.jsonl"
    epochs = [{"kind": "epoch", "steps": entry["step"], **entry} for entry in history]
    each = [{"kind": "step", "steps": n, "epoch": (n - 1) // 5, "loss": 1 / n} for n in range(1, 18)]
    whole = sorted([*each, *epochs], key=lambda line: (line["steps"], line["kind"] == "epoch"))

    def cut(given, source=None):
        (source or path).write_text("".join(json.dumps(line) + "\n" for line in given))
        Journal.cut(path, 16, 3, history, source)
        return lines(path)

    expected = [line for line in whole if line["steps"] <= 16]
    assert cut(whole) == expected
    assert cut(whole, old) == expected
    assert lines(old) == whole
    assert cut([line for line in whole if line != epochs[1]]) == expected  # a line that a full disk refused
    assert cut([line | {"seconds": 3.0} if line in epochs else line for line in whole])[5]["seconds"] == 3.0
    # another course from the second epoch on
    other = [line | {"running": {"loss": 9.0}} if line in epochs[1:] else line for line in whole if line["steps"] <= 17]
    assert cut(other) == [*whole[:6], *epochs[1:]]
    assert cut([]) == epochs
    path.unlink()
    old.unlink()
    Journal.cut(path, 16, 3, history, old)
    assert lines(path) == epochs


def test_a_journal_too_long_for_its_history_is_cut_line_by_line(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    entries = [{"kind": "step", "steps": n} for n in range(1, 9)]
    path.write_text("".join(json.dumps(line) + "\n" for line in entries) + "damaged\n{}\n")
    monkeypatch.setattr("distlenet.bounded.MOST_LINES", 5)
    assert Journal.cut(path, 6, 1, [{"epoch": 0, "step": 6}]) == 1
    assert lines(path) == entries[:6]
    assert not list(tmp_path.glob(".*"))


def test_a_long_history_is_compared_in_one_pass(tmp_path):
    path = tmp_path / "journal.jsonl"
    entry = {"kind": "epoch", "running": {"loss": 1.0}, "text": "not bytes"}
    history = [{**entry, "epoch": n, "step": n + 1, "steps": n + 1} for n in range(3000)]
    path.write_text("".join(json.dumps(line) + "\n" for line in history[::2]))
    Journal.cut(path, 3000, 3000, history)
    assert lines(path) == history


def test_the_lines_of_a_lost_root_are_made_up_for(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, every=5)
    steps(journal, 0, 9)
    state = SimpleNamespace(progress=SimpleNamespace(steps=10, history=[{"epoch": 0, "step": 10}]))
    for _ in range(2):  # the second time there is nothing to add
        journal.catch_up(state)
    assert [(line["kind"], line["steps"]) for line in lines(path)] == [("step", 5), ("epoch", 10)]


def test_of_a_run(trained):
    found = lines(trained / "journal.jsonl")
    assert found[0]["kind"] == "start"
    assert found[-1] == {"kind": "end", "steps": found[-1]["steps"], "status": "complete"}
    epochs = [line for line in found if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [0, 1]
    assert all(math.isfinite(line["running"]["loss"]) for line in epochs)
