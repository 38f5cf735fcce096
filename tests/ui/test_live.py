import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from ui.conftest import Clock

from distlenet.training.events import (
    CheckpointSaved,
    EpochDone,
    Notice,
    RunFinished,
    RunStarted,
    Score,
    StepDone,
)
from distlenet.ui import console
from distlenet.ui.live import LiveDisplay, bar, epoch_cells, epoch_line, fitting, frame
from distlenet.ui.progress import Progress

START = RunStarted("LeNet-5", {"ranks": "2", "shards": "8"}, epochs=20, steps_per_epoch=215, epoch=0, step=0)


def step(i, epoch=0):
    return StepDone(epoch, i, 0.1, 0.5, 0.9, 256, 0.007, 0.0002)


def epoch_done(epoch, accuracy, test=None):
    score = Score(0.1, accuracy, 5000)
    return EpochDone(epoch, 215, 0.1, score, score, score, test, 1.5, 0.2, 38000.0, 0.02)


@pytest.fixture
def size(monkeypatch):
    """The window, as [columns, rows]."""
    size = [80, 24]
    monkeypatch.setattr(console, "window", lambda stream: tuple(size))
    monkeypatch.setenv("TERM", "xterm")
    return size


def shown(*events):
    """Return the output of a display for a run with these events after its start."""
    out = io.StringIO()
    with LiveDisplay(out) as display:
        for event in (START, *events):
            display.on(event)
    return out.getvalue()


def test_rows_notices_and_summary_are_shown(size):
    text = shown(
        step(0),
        epoch_done(0, 0.9712),
        CheckpointSaved(Path("runs/a/last.h5"), "last"),
        epoch_done(1, 0.9650, test=Score(0.1, 0.9777, 10)),
        Notice("a \x1b[2Jwarning", "warning"),
        RunFinished({"status": "finished", "test_accuracy": 0.9912}),
    )
    assert "97.12%" in text and "96.50%" in text and "97.77%" in text
    assert "a \\x1b[2Jwarning" in text and "\x1b[2J" not in text
    assert "99.12%" in text
    assert "\x1b[?25l" not in text  # the cursor is never hidden, since a killed run could not show it again


def test_a_stopped_run_says_how_to_resume(size):
    path, end = Path("runs") / ("long" * 30) / "last.h5", {"status": "stopped by SIGINT", "failure": "Stopped"}
    text = shown(CheckpointSaved(path, "stopped by SIGINT"), RunFinished(end))
    assert f"saved in {path}; resume with the same command and --resume" in text


class Terminal(io.StringIO):
    """A terminal that counts drawings, one write each; each takes ``seconds``."""

    def __init__(self):
        super().__init__()
        self.clock, self.seconds, self.drawn = Clock(0.001), 0.0, 0

    def write(self, text):
        self.drawn += 1
        self.clock.now += self.seconds
        return super().write(text)


def drawn_in(steps, seconds):
    """Return how often the bars are drawn in that many steps of a millisecond, and the duration of the steps."""
    terminal = Terminal()
    with LiveDisplay(terminal, clock=terminal.clock) as display:
        display.on(START)
        before, started, terminal.seconds = terminal.drawn, terminal.clock.now, seconds
        for i in range(steps):
            display.on(step(i % 215))
        return terminal.drawn - before, terminal.clock.now - started


def test_drawing_is_rare(size):
    drawn, _ = drawn_in(1000, 0.0)
    assert 3 <= drawn <= 6


def test_a_slow_terminal_is_drawn_on_less(size):
    drawn, seconds = drawn_in(9000, 0.1)
    assert 1 <= drawn <= 0.02 * seconds / 0.1 + 1


def test_the_standard_streams_are_restored_after_an_error(size):
    before = sys.stdout, sys.stderr

    def interrupted():
        with LiveDisplay(io.StringIO()) as display:
            display.on(START)
            assert sys.stderr is not before[1]  # text printed by others goes above the bars
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (sys.stdout, sys.stderr) == before


def test_a_window_that_changes_does_no_harm(size):
    out = io.StringIO()
    with LiveDisplay(out, clock=Clock(1.0)) as display:
        display.on(START)
        for i, columns in enumerate([80, 40, 120, 7, 1, 0, 80]):
            size[0] = columns
            display.on(step(i))
            display.on(epoch_done(i, 0.9))
    assert out.getvalue().count("epoch") > 3


def test_the_table_follows_the_width(size):
    size[0] = 40
    row = next(line for line in shown(epoch_done(0, 0.9712)).splitlines() if "97.12%" in line)
    assert "38,000" not in row


@pytest.mark.parametrize("width", [10, 40, 60, 80, 120, 200])
def test_the_frame_fits(width):
    progress = Progress()
    progress.add(START)
    for i in range(100):
        progress.add(step(i))
    progress.add(epoch_done(0, 0.9712))
    progress.add(step(3, epoch=1))
    console = Console(width=width, record=True, file=io.StringIO())
    lines = frame(progress, "saved last.h5 12:00", console, rows=35)
    assert all(line.cell_len < width for line in lines)
    if width >= 40:
        text = "\n".join(line.plain for line in lines)
        for part in (
            "epoch 2/20",
            "images/s",
            "running loss 0.5000",
            "running 90.00%",
            "train loss 0.1000",
            "valid loss 0.1000",
            "train 97.12%",
            "valid 97.12%",
            "elapsed 0s",
            "7.00 ms/step",
            "exchange = ",
            "* = best valid so far",
            "best 97.12% (epoch 1)",
            "lr 0.1",
            "exchange 2.9%",
        ):
            assert part in text


@pytest.mark.parametrize(("width", "rows"), [(40, 12), (60, 20), (100, 35)])
@pytest.mark.parametrize("epochs", [1, 30, 10_000])
def test_small_windows_show_bars_and_only_explained_figures(width, rows, epochs):
    progress = Progress(lambda: 5000.0)
    progress.add(replace(START, epochs=epochs))
    console = Console(width=width, file=io.StringIO())
    first = "\n".join(line.plain for line in frame(progress, "", console, rows))
    assert "nan" not in first and "None" not in first and "?" not in first
    for i in range(100):
        progress.add(step(i))
    progress.add(epoch_done(0, 0.9712))
    lines = [line.plain for line in frame(progress, "saved last.h5 12:00", console, rows)]
    assert len(lines) <= rows - 3  # the head and the last row of the table, and the cursor
    for line in lines[:2]:
        assert line.count("━") + line.count("─") >= 8
    text = "\n".join(lines)
    assert ("exchange 2.9%" in text) == ("exchange = " in text)
    assert "* best 97.12%" in text


def test_the_first_frame_of_a_resumed_run_knows_its_best():
    progress = Progress()
    progress.add(replace(START, epoch=3, best_accuracy=0.98, best_epoch=1))
    text = "\n".join(line.plain for line in frame(progress, "", Console(width=80), 24))
    assert "* best 98.00% (epoch 2)" in text and "nan" not in text


def test_the_head_of_the_table_is_repeated(size):
    assert shown(*(epoch_done(epoch, 0.9) for epoch in range(60))).count("train loss valid loss") >= 3


def test_bar():
    shape = {"left": 6, "right": 16, "width": 50, "ascii_only": True}
    assert bar("step", 0.5, "note", "red", **shape).plain.count("=") == 10
    assert bar("step", 7.0, "note", "red", **shape).plain.count("-") == 0
    assert len(bar("step", 0.5, "note", "red", **shape).plain) == 50


def progress_with(event, steps_per_epoch):
    progress = Progress()
    progress.add(replace(START, steps_per_epoch=steps_per_epoch))
    progress.add(event)
    return progress


def test_epoch_rows():
    score = Score(0.1, 0.98, 10)
    event = EpochDone(2, 300, 0.05, score, score, score, None, 1.5, 0.2, 38000.0, 0.021)
    cells = epoch_cells(event, progress_with(event, 100))
    assert "test" not in cells
    columns = fitting(cells, 99)
    assert columns == list(cells)
    head = epoch_line({name: name for name in columns}, columns).plain
    assert " ".join(head.split()) == "epoch train loss valid loss train valid lr images/s ms/step seconds exchange"
    line = epoch_line(cells, columns).plain
    assert line.split() == ["3", "0.1000", "0.1000", "98.00%", "98.00%*", "0.05", "38,000", "0.00", "1.5", "2.1%"]
    assert fitting(cells, 59) == ["epoch", "train loss", "valid loss", "train", "valid", "images/s"]
    assert fitting(cells, 39) == ["epoch", "train loss", "valid loss", "valid"]
    assert fitting(cells, 5) == ["epoch", "valid"]


def test_cells_never_touch():
    score = Score(1e9, 1.0, 10**9)
    event = EpochDone(9_999, 300, 0.001234567, score, score, score, score, 99999.5, 0.2, 1_234_567.8, 1.0)
    cells = epoch_cells(event, progress_with(event, 1))
    assert len(epoch_line(cells, list(cells)).plain.replace("*", " ").split()) == len(cells)


def test_one_process_has_no_exchange():
    score = Score(0.1, 0.98, 10)
    event = EpochDone(0, 300, 0.05, score, score, None, None, 0.0, 0.2, 0.0, 0.0)
    cells = epoch_cells(event, progress_with(event, 100))
    assert not {"exchange", "valid", "valid loss"} & set(cells)
    assert cells["ms/step"] == "-"
