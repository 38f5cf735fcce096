import re
import shlex
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
from distlenet.ui.plain import PlainDisplay


class Log:
    """A stream that keeps each write apart."""

    encoding = "utf-8"

    def __init__(self):
        self.writes = []

    def write(self, text):
        self.writes.append(text)

    def flush(self):
        pass


def parse(line):
    clock, kind, *pairs = shlex.split(line)
    assert re.fullmatch(r"\d\d:\d\d:\d\d", clock)
    return kind, dict(pair.split("=", 1) for pair in pairs)


def play(display, clock, epoch=0):
    display.on(RunStarted("LeNet-5 on 'MNIST'", {"ranks": "2", "batch size": "256"}, 2, 100, epoch, 0))
    for step in range(100):
        clock.now += 0.25
        display.on(StepDone(epoch, step, 0.1, 0.5, 0.9, 256, 0.25, 0.025))
    clock.now += 20
    validation = Score(0.09, 0.975, 5000)
    display.on(EpochDone(epoch, 100, 0.1, validation, validation, validation, None, 25.0, 20.0, 1024.0, 0.1))
    for _ in range(2):
        display.on(CheckpointSaved(Path("runs/my run/last.h5"), "last"))
    display.on(Notice("a file\nwas \x1b[31mdamaged", "warning"))
    display.on(Notice("for your information"))
    display.on(RunFinished({"status": "finished", "test_accuracy": 0.9912345, "steps": 100, "history": [1, 2]}))


def test_every_line_can_be_parsed(clock):
    log = Log()
    play(PlainDisplay(log, clock=clock), clock)
    assert all(text.endswith("\n") and text.count("\n") == 1 for text in log.writes)  # one line, one write
    assert not any(c in "".join(log.writes) for c in "\x1b\r\x08")
    lines = [parse(text) for text in log.writes]
    kinds = [kind for kind, _ in lines]
    # 25 s of steps at a line every 10 s
    expected = "start words step step epoch checkpoint warning info result"
    assert kinds == expected.split()
    assert lines[0][1]["title"] == "LeNet-5 on 'MNIST'"
    assert lines[0][1]["batch_size"] == "256"
    assert lines[1][1]["train,valid"].startswith("after the epoch")
    step = lines[2][1]
    assert step["epoch"] == "1/2" and step["step"] == "40/100"
    assert (
        float(step["running_loss"]) == 0.5
        and step["running"] == "90.00%"
        and float(step["images/s"]) == 1024
        and float(step["lr"]) == 0.1
    )
    assert step["exchange"] == "10.0%" and step["left"] == "40s"
    assert step["elapsed"] == "10s" and step["ms/step"] == "250"
    epoch = lines[4][1]
    assert epoch["valid"] == "97.50%" and epoch["best"] == "yes" and "test" not in epoch
    assert epoch["train_loss"] == epoch["valid_loss"] == "0.0900" and float(epoch["ms/step"]) > 0
    assert lines[5][1]["path"] == "runs/my run/last.h5"
    assert lines[6][1]["text"] == "a file was \\x1b[31mdamaged"
    assert lines[-1][1] == {"status": "finished", "test_accuracy": "0.991235", "steps": "100"}


def test_a_complete_run_ends_with_the_next_commands(clock):
    log, hints = Log(), [("distlenet report 'my run'", "a page"), ("distlenet predict r x.jpg", "a picture")]
    display = PlainDisplay(log, hints=hints)
    display.on(RunFinished({"status": "complete"}))
    assert parse(log.writes[-1]) == ("next", {"1": hints[0][0], "2": hints[1][0]})
    for quiet, status in ((True, "complete"), (False, "stopped by SIGINT")):
        PlainDisplay(log, quiet=quiet, hints=hints).on(RunFinished({"status": status}))
        assert parse(log.writes[-1])[0] == "result"


def test_quiet_shows_warnings_and_the_result(clock):
    log = Log()
    play(PlainDisplay(log, quiet=True, clock=clock), clock)
    assert [parse(text)[0] for text in log.writes] == ["warning", "result"]


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize(
    ("saved", "end", "message"),
    [
        (["best", "stopped by SIGINT"], {"failure": "Stopped"}, "saved in runs/a/last.h5;"),
        (
            ["last"],
            {"failure": "Stopped", "unsaved": True},
            "the last steps could not be saved, runs/a/last.h5 is older;",
        ),
        (["last"], {"failure": None}, None),
        (["last"], {"failure": "DivergedError"}, None),
        ([], {"failure": "Stopped"}, None),
    ],
)
def test_a_stopped_run_says_how_to_resume(quiet, saved, end, message):
    log = Log()
    display = PlainDisplay(log, quiet=quiet)
    for reason in saved:
        display.on(CheckpointSaved(Path("runs/a") / ("best.h5" if reason == "best" else "last.h5"), reason))
    display.on(RunFinished({"status": "stopped by SIGINT" if message else "complete", **end}))
    if message:
        assert parse(log.writes[-1]) == ("info", {"text": f"{message} resume with the same command and --resume"})
    else:
        assert "resume with" not in "".join(log.writes)


def test_the_interval_can_be_set(clock):
    log = Log()
    play(PlainDisplay(log, interval=1.0, clock=clock), clock)
    assert [parse(text)[0] for text in log.writes].count("step") == 25


def test_a_resumed_run_says_where(clock):
    log = Log()
    play(PlainDisplay(log, clock=clock), clock, epoch=1)
    assert parse(log.writes[0])[1]["resumed_at"] == "1+0/100"


def test_facts_may_have_any_name(clock):
    log = Log()
    PlainDisplay(log, clock=clock).on(RunStarted("t", {"kind": "a", "self": "b", "title": "c"}, 1, 1, 0, 0))
    assert parse(log.writes[0])[1]["kind"] == "a"
