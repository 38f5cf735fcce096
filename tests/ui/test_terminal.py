import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from distlenet.ui import terminal as terminal_module
from distlenet.ui.terminal import choose, is_live, window


@pytest.fixture
def terminal(monkeypatch):
    """A function that opens a terminal whose window has the given columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")  # must be ignored
    opened = []

    def open_terminal(columns):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
        stream = os.fdopen(slave, "w")
        opened.append((master, stream))
        return stream

    yield open_terminal
    for master, stream in opened:
        stream.close()
        os.close(master)


def test_terminal_with_a_window_is_live(terminal):
    stream = terminal(80)
    assert window(stream) == (80, 24)
    assert is_live(stream)
    assert choose("auto", stream) == "live"


def test_terminal_without_a_window_is_plain(terminal):
    # Open MPI gives a rank this one if mpirun's output is redirected.
    stream = terminal(0)
    assert stream.isatty()
    assert choose("auto", stream) == "plain"


def test_dumb_terminal_is_plain(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert choose("auto", terminal(80)) == "plain"


def test_files_are_plain(tmp_path):
    with (tmp_path / "log").open("w") as stream:
        assert choose("auto", stream) == "plain"
    assert choose("auto", stream) == "plain"  # closed
    assert choose("auto", io.StringIO()) == "plain"


@pytest.mark.parametrize("mode", ["live", "plain", "quiet"])
def test_a_given_mode_is_kept(mode):
    assert choose(mode, io.StringIO()) == mode


def test_unknown_mode():
    with pytest.raises(ValueError, match=r"'fancy'.*auto"):
        choose("fancy", io.StringIO())


def test_a_rank_follows_the_window_of_its_mpirun(terminal, monkeypatch):
    own, of_mpirun = terminal(80), terminal(44)
    monkeypatch.setattr(terminal_module, "mpirun_window", lambda: os.get_terminal_size(of_mpirun.fileno()))
    assert window(own) == (80, 24)  # no rank
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    assert tuple(window(own)) == (44, 24)
    assert window(terminal(0)) == (0, 0)  # mpirun's output is not a terminal
    monkeypatch.setattr(terminal_module, "mpirun_window", lambda: None)
    assert window(own) == (80, 24)


def test_the_window_of_a_parent(terminal):
    program = "from distlenet.ui.terminal import mpirun_window; import sys; sys.stderr.write(repr(mpirun_window()))"
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], stdout=subprocess.DEVNULL)"
    for stdout, expected in ((terminal(44), "(44, 24)"), (subprocess.DEVNULL, "None"), (subprocess.PIPE, "None")):
        done = subprocess.run(
            [sys.executable, "-c", parent, program], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
        )
        assert done.stderr == expected
