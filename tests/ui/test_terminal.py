import errno
import fcntl
import io
import os
import pty
import struct
import termios

import pytest

from distlenet.ui.terminal import SafeStream, choose, clean, is_live, window


@pytest.fixture
def terminal(monkeypatch):
    """A function that opens a terminal whose window has the given columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")  # must not count
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
    # What Open MPI gives a rank when mpirun's output is redirected.
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


def test_clean_disarms_control_characters():
    assert clean("a\nb\tc") == "a b c"
    assert clean("\x1b[2J\x07é\udc80\u202e") == "\\x1b[2J\\x07é\\udc80\\u202e"


class Failing(io.StringIO):
    code = errno.EIO

    def write(self, text):
        if self.code:
            raise OSError(self.code, os.strerror(self.code))
        return super().write(text)


def test_a_lost_terminal_silences_the_stream():
    below = Failing()
    stream = SafeStream(below)
    assert stream.write("x") == 1
    below.code = 0
    stream.write("y")
    assert stream.broken
    assert below.getvalue() == ""


def test_a_full_disk_does_not_silence_the_stream_for_good():
    below = Failing()
    below.code = errno.ENOSPC
    stream = SafeStream(below)
    stream.write("x")
    below.code = 0
    stream.write("y")
    assert below.getvalue() == "y"


def test_a_closed_stream_is_no_error():
    below = io.StringIO()
    below.close()
    SafeStream(below).write("x")


def test_characters_the_stream_does_not_know_are_escaped():
    raw = io.BytesIO()
    stream = SafeStream(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("größe\n")
    assert raw.getvalue() == rb"gr\xf6\xdfe" + b"\n"
