"""The display of a notebook's cell: one page, replaced during the run."""

import html
import itertools
import re
from pathlib import Path

import pytest

from distlenet.training.events import (
    CheckpointSaved,
    EpochDone,
    Notice,
    RunFinished,
    RunStarted,
    Score,
    StepDone,
)
from distlenet.ui.display import make_display
from distlenet.ui.notebook import MOST_EPOCHS, NotebookDisplay


@pytest.fixture
def pages():
    return []


@pytest.fixture
def display(pages):
    """A display whose clock advances by a second whenever it is looked at."""
    return NotebookDisplay(itertools.count(0.0).__next__, 'resume="auto"', show=pages.append)


def start(epochs=3, epoch=0):
    return RunStarted("lenet5 on <MNIST>", {"ranks": "one process"}, epochs, 2, epoch, 0)


def epoch(number, accuracy=0.9, test=None):
    score = Score(0.25, accuracy, 100)
    return EpochDone(number, 2 * number + 2, 0.1, score, score, score, test and score, 1.0, 0.1, 512.0, 0.0)


def step(number, epoch=0):
    return StepDone(epoch, number, 0.1, 0.5, 0.75, 256, 0.01, 0.0)


def text_of(page):
    """Return the text of a page, after checking that its HTML has the same."""
    shown = html.unescape(re.sub("<.*?>", "", page["text/html"]))
    assert shown.split() == page["text/plain"].split()
    return page["text/plain"]


def test_a_run_from_start_to_end(display, pages):
    for event in (start(), step(0), step(1), epoch(0), CheckpointSaved(Path("runs/a/last.h5"), "last")):
        display.on(event)
    text = text_of(pages[-1])
    assert "lenet5 on <MNIST>" in text and "ranks one process" in text
    assert re.search(r"^ +1 +0\.2500 +0\.2500 +90\.00% +90\.00%\*", text, re.MULTILINE)
    assert re.search(r"^epoch 1/3 ━+─+ ", text, re.MULTILINE) and "saved last.h5" in text
    display.on(RunFinished({"status": "complete", "test_accuracy": 0.9, "run": "runs/a"}))
    text = text_of(pages[-1])
    assert "test accuracy  90.00%" in text and "epoch 1/3 ━" not in text


def test_a_stopped_run_says_how_to_resume_it(display, pages):
    for event in (start(), CheckpointSaved(Path("runs/a/last.h5"), "last"), RunFinished({"failure": "Stopped"})):
        display.on(event)
    assert 'runs/a/last.h5; resume with resume="auto"' in text_of(pages[-1])


def test_a_run_that_goes_back_shows_each_epoch_once(display, pages):
    """Also one that was resumed: its table starts later."""
    events = start(9, 5), epoch(5), epoch(6), epoch(7), start(9, 6), epoch(6, test=True), Notice("went back", "warning")
    for event in events:
        display.on(event)
    text = text_of(pages[-1])
    assert re.findall(r"^ +(\d+) +0\.2500", text, re.MULTILINE) == ["6", "7"] and "warning: went back" in text


def test_a_long_run_shows_its_last_epochs(display, pages):
    for event in (start(100), *map(epoch, range(100))):
        display.on(event)
    rows = re.findall(r"^ +(\d+) +0\.2500", text_of(pages[-1]), re.MULTILINE)
    assert rows == [str(number) for number in range(101 - MOST_EPOCHS, 101)]


def test_steps_are_drawn_now_and_then_all_else_at_once(pages):
    now = [0.0]
    display = NotebookDisplay(lambda: now[0], show=pages.append)
    display.on(start())
    for number in range(1000):
        now[0] += 0.01
        display.on(step(number))
    assert 18 <= len(pages) <= 22
    display.on(Notice("at once"))
    assert "at once" in pages[-1]["text/plain"]


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("auto", "NotebookDisplay"), ("live", "NotebookDisplay"), ("plain", "PlainDisplay"), ("quiet", "PlainDisplay")],
)
def test_the_display_of_a_cell(mode, kind):
    """Told by the type of its stream: behind that may be the terminal of the notebook's server."""
    stream = type("OutStream", (), {"__module__": "ipykernel.iostream", "isatty": lambda self: True})()
    assert type(make_display(mode, stream)).__name__ == kind
