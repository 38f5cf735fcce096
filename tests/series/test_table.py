import json

import pytest

from distlenet.errors import RunDirectoryError
from distlenet.series.directory import save
from distlenet.series.outcome import Outcome, summarize_series
from distlenet.series.table import as_markdown, as_text, comparison_rows, line, remarks, repeat_rows


def outcome(setting, seed, accuracy, defect=None, heals=0, **more):
    figures = {"test_accuracy": accuracy, "test_error": 1 - accuracy, "step_seconds": 0.0123, "parameters": 61706}
    figures = {} if defect == "non-finite" else figures | more
    return Outcome(setting, seed, f"runs/{setting}/{seed}", defect, figures, heals)


SERIES = [
    outcome("a", 1, 0.98, seconds=61.0),
    outcome("a", 2, 0.99, heals=2, seconds=63.0),
    outcome("a", 3, 0.11, "at chance", seconds=60.0),
    outcome("b | c", 1, 0.97),
    outcome("dead", 1, 0, "non-finite", heals=1),
]


def test_comparison():
    rows = comparison_rows(summarize_series(SERIES))
    assert rows == [
        ["setting", "runs", "test", "valid", "time", "images/s", "parameters", "healed", "defective"],
        ["a", "3", "98.50 +- 0.71 %", "-", "62.0 +- 1.4 s", "-", "61,706", "1 of 3 (2 times)", "1 of 3"],
        ["b | c", "1", "97.00 %", "-", "-", "-", "61,706", "none", "none"],
        ["dead", "1", "-", "-", "-", "-", "-", "1 of 1 (once)", "1 of 1"],
    ]
    kept = comparison_rows(summarize_series(SERIES, keep_defective=True))
    assert kept[1][2] == "69.33 +- 50.52 %"
    assert len(as_text(rows).splitlines()) == 4
    marked = as_markdown(rows).splitlines()
    assert marked[1].startswith("| :-- | --: ")
    assert marked[3].startswith("| b \\| c | 1 |")


def test_repeat():
    rows = repeat_rows(summarize_series(SERIES[:3]))
    assert [row[0] for row in rows] == ["", "test accuracy", "test error", "time", "a step"]
    assert rows[1] == ["test accuracy", "98.50 %", "0.71 %", "92.15 to 100.00 %", "98.00 %", "99.00 %", "2"]
    assert rows[4][1:3] == ["12.30 ms", "0.00 ms"]
    assert repeat_rows(summarize_series(SERIES[:1]))[1][2:4] == ["-", "-"]


def test_defective_and_healed_runs_are_named():
    results = summarize_series(SERIES)
    assert remarks(results) == [
        "a: defective and left out: seed 3 (at chance)",
        "a: diverged and went back: seed 2 (2 times)",
        "dead: defective and left out: seed 1 (non-finite)",
        "dead: diverged and went back: seed 1 (once)",
    ]
    run = results["runs"][2]
    assert line(run, kept=True) == "a seed 3: test 11.00 %, 60.0 s, DEFECTIVE: at chance, from before"
    assert line(results["runs"][1]) == "a seed 2: test 99.00 %, 63.0 s, healed 2 times"
    assert line(results["runs"][4]) == "dead seed 1: healed once, DEFECTIVE: non-finite"


def test_files(tmp_path):
    results = summarize_series(SERIES)
    save(tmp_path, results, comparison_rows(results), "a title")
    assert json.loads((tmp_path / "results.json").read_text()) == {"title": "a title", **results}
    text = (tmp_path / "results.txt").read_text()
    assert text.startswith("a title\n\nsetting ")
    assert "b | c seed 1: test 97.00 %" in text
    assert "| dead | 1 |" in (tmp_path / "results.md").read_text()
    with pytest.raises(RunDirectoryError, match="cannot write .*results.json: not a directory"):
        save(tmp_path / "results.md/none", results, comparison_rows(results), "a title")
