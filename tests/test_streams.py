"""Streams that are closed, full, without a reader or limited in encoding, and text that would control a terminal."""

import errno
import io
import os
import shutil
import sys

import mpi_jobs
import pytest
from rich.table import Table

from distlenet.cli import main
from distlenet.errors import DataError, report
from distlenet.launching.job import say
from distlenet.parallel import Serial
from distlenet.parallel.agreement import all_or_nothing
from distlenet.streams import SafeStream, clean, note, shown
from distlenet.training.events import RunStarted
from distlenet.ui.console import SafeConsole
from distlenet.ui.live import LiveDisplay


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


def test_a_full_disk_silences_the_stream_only_for_a_while():
    below = Failing()
    below.code = errno.ENOSPC
    stream = SafeStream(below)
    stream.write("x")
    below.code = 0
    stream.write("y")
    assert below.getvalue() == "y"


def test_a_closed_stream_is_not_an_error():
    below = io.StringIO()
    below.close()
    SafeStream(below).write("x")


def test_characters_that_the_encoding_lacks_are_escaped():
    raw = io.BytesIO()
    stream = SafeStream(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("größe\n")
    assert raw.getvalue() == rb"gr\xf6\xdfe" + b"\n"


def test_clean_leaves_spaces_alone():
    assert clean("  a  b \r\n\x85\u2028c\xa0d \n") == "  a  b  c d"


def test_shown_keeps_lines_and_tabs():
    text = "a\tb\r\nc\n\n"
    assert shown(text) == text
    assert shown("a\x1b[1mb\rc\n\x9b2J\u2066\x00") == "a\\x1b[1mb\\rc\n\\x9b2J\\u2066\\x00"
    assert shown("\r") == "\\r"  # would overwrite the line


def test_a_notice_is_given_once(capsys):
    stream = SafeStream(Failing(), "not shown any more")
    for _ in range(3):
        stream.write("x\n")
    assert capsys.readouterr().err == "distlenet: note: not shown any more (Input/output error)\n"


def test_a_line_is_written_in_one_piece():
    class Counting(io.StringIO):
        flushes = 0

        def flush(self):
            self.flushes += 1

    below = Counting()
    print("several", "words", file=SafeStream(below))
    assert (below.getvalue(), below.flushes) == ("several words\n", 1)


@pytest.mark.parametrize("markup", ["[red]a[/red]", ":smile:", "a\x1b[2Jb", "a\u202eb", "a\x07", "\x9b31m"])
def test_consoles_do_not_interpret_outside_text(markup):
    out = io.StringIO()
    console = SafeConsole(out, force_terminal=True, width=60, color_system="standard")
    grid = Table("column")
    grid.add_row(markup)
    console.print(markup, style="red")
    console.print(grid)
    message = out.getvalue()
    assert "\x1b[31m" in message  # our own colour
    assert message.count(clean(markup)) == 2
    assert not {"\u202e", "\x07", "\x9b"} & set(message)
    assert "\x1b[2J" not in message


def under(redirection, *arguments, **more):
    """Run the command line with the shell's ``redirection``."""
    words = [sys.executable, "-m", "distlenet", *map(str, arguments)]
    return mpi_jobs.run(["sh", "-c", f'exec "$@" {redirection}', "sh", *words], env=mpi_jobs.environment(**more))


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-", "1</dev/null"])
def test_training_needs_no_streams(redirection, digits, tmp_path, summary_of):
    run = tmp_path / "run"
    settings = ["--epochs", 1, "--batch-size", 64, "--recipe", "fast", "--overwrite"]
    done = under(redirection, "train", "--data", digits, "--run", run, *settings).expect()
    assert summary_of(run)["status"] == "complete"
    assert ("the display has ended" in done.stderr) == (redirection == "1</dev/null")
    assert "Traceback" not in done.output


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["summary", "inspect"])
def test_commands_with_closed_streams(command, redirection, trained):
    done = under(redirection, command, *([trained] if command == "inspect" else [])).expect()
    assert done.stderr == ""
    assert (done.stdout == "") == (">&-" in redirection.replace("2>&-", ""))


@pytest.mark.parametrize("command", [["journal", "--csv", "-"], ["inspect", "--json"], ["summary"], ["--help"]])
def test_output_that_a_full_disk_refuses(command, trained, only_sentence):
    arguments = [command[0], trained, *command[1:]] if command[0] in ("journal", "inspect") else command
    only_sentence(under(">/dev/full", *arguments), 17, "cannot write to the standard output", "No space left")


def test_training_on_a_full_disk_is_not_lost(digits, tmp_path, summary_of):
    run = tmp_path / "run"
    arguments = ["train", "--data", digits, "--run", run, "--epochs", 1, "--batch-size", 64, "--recipe", "fast"]
    done = under(">/dev/full", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.output
    assert "distlenet: note: the display has ended" in done.stderr
    assert summary_of(run)["status"] == "complete"


def test_text_printed_while_bars_are_drawn(capsys):
    out = io.StringIO()
    with LiveDisplay(out) as display:
        display.on(RunStarted("a title", {}, 1, 1, 0, 0))
        print("\x1b[31m\x1b]8;;http://evil\x1b\\[bold]printed", file=sys.stderr)
    assert "\\x1b[31m\\x1b]8;;http://evil\\x1b\\[bold]printed" in out.getvalue()


NAMES = [b"caf\xe9", b"\x1b[2Jx\ny", "\u202eh5.\u2603".encode()]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("name", NAMES)
def test_names_that_a_stream_cannot_show(name, encoding, digits, trained, tmp_path):
    place = tmp_path / os.fsdecode(name)
    place.mkdir()
    data, run = place / f"{place.name}.h5", place / place.name
    shutil.copy(digits, data)
    shutil.copytree(trained, run)
    for arguments, code in (
        (["evaluate", run, "--data", data], 0),
        (["inspect", run], 0),
        (["export", run, "--to", place / f"{place.name}.npz"], 0),
        (["evaluate", run, "--data", place], 4),
        (["inspect", data], 5),
        (["prepare", "csv", "--from", data, "--out", place / "made.h5"], 4),
        (["train", "--data", data, "--run", run], 6),
        ([f"{place}"], 2),
    ):
        out, err = capture(encoding, code, *arguments)
        assert "Traceback" not in err
        assert not {"\x1b", "\u202e"} & set(out + err)
        assert len(err.splitlines()) == (code != 0)
        shown_name = clean(place.name)
        for letter in "\xe9\u2603":
            if letter not in letter.encode(encoding, "ignore").decode(encoding):
                shown_name = shown_name.replace(letter, letter.encode("ascii", "backslashreplace").decode())
        assert shown_name in out + err or code == 2  # argparse formats names differently


def capture(encoding, code, *arguments):
    """Run the command line in this process, on streams of ``encoding``; return their content."""
    before = sys.stdout, sys.stderr
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in before]
    sys.stdout, sys.stderr = streams
    try:
        assert main(list(map(str, arguments))) == code
    finally:
        sys.stdout, sys.stderr = before
    return [stream.buffer.getvalue().decode(encoding) for stream in streams]


def test_lines_of_ranks_and_launcher_are_one_line(capsys):
    class Two(Serial):
        size = 2

    evil = "a\x1b[2J\n[rank 1/2] all is well"
    with pytest.raises(DataError), all_or_nothing(Two()):
        raise DataError(evil)
    say(evil)
    report(DataError(evil))
    note(evil)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.endswith("a\\x1b[2J [rank 1/2] all is well") for line in lines)
