import io
from pathlib import Path

import pytest
from rich.console import Console

from distlenet.series.outcome import Outcome, summarize_series
from distlenet.series.table import comparison_rows, repeat_rows
from distlenet.training.events import CheckpointSaved, EpochDone, Notice, RunFinished, RunStarted, Score, StepDone
from distlenet.ui.progress import Progress
from distlenet.ui.series import SeriesLine, SeriesProgress, fitted
from distlenet.ui.tables import table


def play(display, clock, epochs=2, seconds=1.0):
    display.on(RunStarted("a title", {}, epochs, 10, 0, 0))
    score = Score(0.1, 0.98, 5000)
    for epoch in range(epochs):
        for step in range(10):
            clock.now += seconds
            display.on(StepDone(epoch, step, 0.1, 0.5, 0.9, 256, seconds, 0.0))
        display.on(EpochDone(epoch, 10, 0.1, score, score, score, None, 10.0, 0.0, 256.0, 0.0))


def test_a_log_has_a_line_for_each_start_and_regular_progress_lines(clock):
    out, progress = io.StringIO(), SeriesProgress(["fast"] * 6, clock=clock)
    progress.add(1, 20.0)
    display = SeriesLine(progress, 2, "fast seed 2\x1b[2J", again="the same command", stream=out, clock=clock)
    play(display, clock)
    display.on(Notice("only for your information"))
    display.on(Notice("the disk is full", "warning"))
    display.on(RunFinished({"status": "complete"}))
    assert out.getvalue().splitlines() == [
        "2/6 fast seed 2\\x1b[2J: started, epochs: 2",
        "2/6 fast seed 2\\x1b[2J: epoch 1/2, elapsed 10s, 1m30s left",  # 10 s of this run, 4 runs of 20 s
        "2/6 fast seed 2\\x1b[2J: epoch 2/2, valid 98.00%, elapsed 20s, 1m20s left",
        "warning: the disk is full",
    ]


def test_a_resumed_run_and_a_quiet_series(clock):
    out, progress = io.StringIO(), SeriesProgress(["a"], clock=clock)
    display = SeriesLine(progress, 1, "a", again="the same command", stream=out, clock=clock)
    display.on(RunStarted("", {}, 2, 10, 1, 0))
    assert out.getvalue() == "1/1 a: resumed\n"
    play(SeriesLine(progress, 1, "a", again="", stream=out, quiet=True, clock=clock), clock)
    assert out.getvalue() == "1/1 a: resumed\n"


@pytest.mark.parametrize("live", [False, True])
def test_a_stopped_series_says_how_to_resume(live):
    out = io.StringIO()
    display = SeriesLine(SeriesProgress(["a"]), 1, "a", again="the same command", live=live, stream=out)
    display.on(CheckpointSaved(Path("runs/s/seed-2/checkpoints/last.h5"), "stopped by SIGTERM"))
    display.on(RunFinished({"status": "stopped by SIGTERM", "failure": "Stopped"}))
    message = "stopped by SIGTERM: saved in runs/s/seed-2/checkpoints/last.h5; resume with the same command\n"
    assert out.getvalue() == message


@pytest.mark.parametrize("width", [10, 40, 60, 100])
def test_the_live_line_fits(width, clock):
    out, progress = io.StringIO(), SeriesProgress(["fast", "slow"] * 3, clock=clock)
    for place in (1, 2):
        progress.add(place, 30.0)
    display = SeriesLine(progress, 3, "fast seed 2", again="", live=True, stream=out, clock=clock)
    play(display, clock, epochs=1)
    lines = display.lines(Console(width=width, file=io.StringIO()))
    assert all(line.cell_len < width for line in lines) and len(lines) <= 3
    text = "\n".join(line.plain for line in lines)
    if width > 10:
        assert "run 3/6" in text and "epoch 1/1" in text and "1m30s left" in text and " 50%" in text
    display.close()
    assert "run 3/6" in out.getvalue()


def test_settings_of_different_speed(clock):
    series = SeriesProgress(["fast", "slow"] * 2, clock=clock)
    run = Progress(clock)
    assert series.seconds_left(1, run) is None
    series.add(1, 10.0)
    series.add(2, 100.0)
    run.add(RunStarted("", {}, 1, 10, 0, 0))
    run.add(StepDone(0, 0, 0.1, 0.5, 0.9, 256, 1.0, 0.0))
    assert series.seconds_left(3, run) == pytest.approx(9 + 100)
    series.add(4, None)  # complete before this process started
    assert series.seconds_left(3, run) == pytest.approx(9)
    assert series.fraction(0.5) == 3.5 / 4


FIGURES = {"test_accuracy": 0.98, "test_error": 0.02, "step_seconds": 0.0123, "parameters": 61706, "seconds": 61.0}
SERIES = [Outcome("a", 1, "runs/a/1", None, FIGURES, 2), Outcome("b | c", 1, "runs/b/1", "at chance", FIGURES)]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_narrow_tables_drop_whole_columns(width):
    results = summarize_series(SERIES)
    for rows in (comparison_rows(results), repeat_rows(summarize_series(SERIES[:1] * 3))):
        file = io.StringIO()
        head, *others = fitted(rows, width)
        Console(file=file, width=width).print(table(head, others))
        text = file.getvalue()
        assert "…" not in text
        assert all(row[0] in text for row in rows)
        assert all(rows[1][rows[0].index(name)] in text for name in ("test", "mean") if name in rows[0])
    assert fitted(rows, 200) == rows
