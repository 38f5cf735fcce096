import io
import os
import subprocess
import sys

import mpi_jobs
import pexpect
import pytest

from distlenet.training.events import RunStarted
from distlenet.ui.display import Guarded, make_display
from distlenet.ui.live import LiveDisplay
from distlenet.ui.plain import PlainDisplay
from distlenet.ui.progress import Display

SCRIPT = """
import sys
from pathlib import Path
from distlenet.training.events import *
from distlenet.ui.display import make_display

with make_display(sys.argv[1]) as display:
    display.on(RunStarted("a title", {"ranks": "2"}, 2, 5, 0, 0))
    for epoch in range(2):
        for step in range(5):
            display.on(StepDone(epoch, step, 0.1, 0.5, 0.9, 256, 0.01, 0.001))
        score = Score(0.1, 0.98 + epoch / 100, 100)
        display.on(EpochDone(epoch, 5, 0.1, score, score, score, None, 1.0, 0.1, 25600.0, 0.1))
        display.on(CheckpointSaved(Path("checkpoints/best.h5"), "best"))
    display.on(Notice("something happened", "warning"))
    if "fail" in sys.argv:
        raise KeyboardInterrupt if sys.argv[3] == "interrupt" else RuntimeError("boom")
    display.on(RunFinished({"status": "finished", "test_accuracy": 0.99}))
print("after", flush=True)
"""


def spawn(*arguments, columns):
    child = pexpect.spawn(
        sys.executable,
        ["-c", SCRIPT, *arguments],
        env=mpi_jobs.environment(TERM="xterm-256color"),
        dimensions=(24, columns),
        timeout=30,
        encoding="utf-8",
    )
    output = child.read()
    child.close()
    return output, child.exitstatus


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_auto_is_live_in_a_terminal(columns):
    output, code = spawn("auto", columns=columns)
    assert code == 0
    assert "\x1b[" in output
    assert "98.00%" in output and "99.00%" in output
    assert output.rstrip().endswith("after")


@pytest.mark.parametrize("kind", ["none", "error", "interrupt"])
def test_the_cursor_is_never_lost(kind):
    output, _ = spawn("live", *([] if kind == "none" else ["fail", kind]), columns=80)
    assert output.rfind("\x1b[?25h") >= output.rfind("\x1b[?25l")
    if kind == "error":
        assert "RuntimeError: boom" in output.splitlines()[-1]


def test_auto_is_plain_in_a_pipe():
    done = mpi_jobs.run([sys.executable, "-c", SCRIPT, "auto"]).expect()
    assert "\x1b" not in done.output
    assert " epoch epoch=2/2 " in done.stdout


@pytest.mark.parametrize("mode", ["plain", "live"])
def test_a_reader_that_leaves_does_not_kill_the_run(mode):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as pipe:
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT, mode],
            env=mpi_jobs.environment(),
            stdout=pipe,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    assert run.returncode == 0
    assert run.stderr.count(b"\n") == 1
    assert b"the display has ended, but the run continues" in run.stderr


def test_make_display_chooses():
    assert isinstance(make_display("live", io.StringIO()), LiveDisplay)
    assert isinstance(make_display("auto", io.StringIO()), PlainDisplay)
    assert isinstance(make_display("quiet", io.StringIO()), PlainDisplay)


def test_plain_output_does_not_load_rich():
    code = "import sys; from distlenet.ui.display import make_display; make_display('plain'); "
    code += "sys.exit(any(name.split('.')[0] in ('rich', 'mpi4py') for name in sys.modules))"
    assert mpi_jobs.run([sys.executable, "-c", code]).returncode == 0


def test_an_error_in_the_display_does_not_end_the_run(capsys):
    class Defective(Display):
        closed = 0

        def on(self, event):
            raise ZeroDivisionError("\x1b[2J")

        def close(self):
            self.closed += 1
            raise OSError

    display = Defective()
    with Guarded(display) as guarded:
        for _ in range(3):
            guarded.on(RunStarted("", {}, 1, 1, 0, 0))
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and display.closed == 1
    assert "the display has ended, but the run continues" in message and "ZeroDivisionError: \\x1b[2J" in message
