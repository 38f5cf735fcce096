"""Safe standard streams, and one rule for writing outside text to them.

Outside text comes from files, names and other programs: class names, paths, settings, HDF5's messages. It must not
control the terminal, forge a line, or end a run because the stream cannot encode it. If a stream is closed, full,
without a reader, or lacks a character in its encoding, the work continues.
"""

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO

# A full disk or pipe may have room again later; every other failure of a stream is permanent.
PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.EINTR}
BREAKS = re.compile(r"[^\S ]+")  # line ends, tabs and all other white space but plain spaces


def clean(text: object) -> str:
    r"""Return ``text`` on one line with control characters shown as ``\x1b`` and the like."""
    return escaped(BREAKS.sub(" ", str(text)).rstrip())


def escaped(line: str) -> str:
    """Return ``line`` with non-printable characters escaped: control characters, direction marks."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


def shown(text: str) -> str:
    """Return ``text`` of any number of lines, escaped for output; line ends (also CSV's) and tabs are kept."""
    if text.isprintable():
        return text
    *lines, last = text.split("\n")
    whole = [_tabbed(line[:-1]) + "\r" if line.endswith("\r") else _tabbed(line) for line in lines]
    return "\n".join([*whole, _tabbed(last)])


def _tabbed(line: str) -> str:
    return line if line.isprintable() else "\t".join(map(escaped, line.split("\t")))


def say(text: object) -> None:
    """Print ``text`` as one line of the result on stdout."""
    print(clean(text))


def note(text: object) -> None:
    """Print a note to the user on stderr, separate from the result."""
    print(f"distlenet: note: {clean(text)}", file=sys.stderr, flush=True)


class SafeStream:
    """A text stream that escapes what it writes, flushes each line, and never raises.

    ``failure`` is the first error of the underlying stream, or None. At the first error, ``notice`` is printed on
    stderr, once. After a permanent error the stream discards its output.
    """

    def __init__(self, stream: TextIO, notice: str = "") -> None:
        self.stream: TextIO = stream.stream if isinstance(stream, SafeStream) else stream
        self.failure: OSError | ValueError | None = None
        self.broken = False
        self._notice, self._teller = notice, sys.stderr

    @property
    def encoding(self) -> str:
        """The encoding of the underlying stream."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write ``text``, escaped, in one call."""
        return self.write_codes(shown(text))

    def write_codes(self, text: str) -> int:
        """Write ``text`` with its escape codes: for consoles, which escape all outside text themselves."""
        if not self.broken:
            try:
                try:
                    self.stream.write(text)
                except UnicodeEncodeError:
                    self.stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            except (OSError, ValueError) as error:  # ValueError: closed
                self._fail(error)
            if "\n" in text:  # whole lines only: those of several processes must not mix
                self.flush()
        return len(text)

    def flush(self) -> None:
        """Flush the underlying stream."""
        if not self.broken:
            try:
                self.stream.flush()
            except (OSError, ValueError) as error:
                self._fail(error)

    def finish(self) -> None:
        """Flush for the last time; drop what cannot be written, or it would fail again, loudly, when Python exits."""
        try:
            self.stream.flush()
        except (OSError, ValueError) as error:
            self._fail(error)
            self._fall_silent()

    def _fail(self, error: OSError | ValueError) -> None:
        if getattr(error, "errno", None) not in PASSING:
            self._fall_silent()
        if self.failure is None:
            self.failure = error
            if self._notice and self._teller is not None:
                with contextlib.suppress(OSError, ValueError):
                    print(f"distlenet: note: {self._notice} ({reason(error)})", file=self._teller, flush=True)

    def _fall_silent(self) -> None:
        self.broken = True
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def reason(error: Exception) -> str:
    """Return why a stream could not be written, in a few words."""
    return getattr(error, "strerror", None) or str(error)


@contextlib.contextmanager
def safe_streams() -> Iterator[SafeStream]:
    """Make the standard streams safe during the block; yields the new stdout."""
    open_closed()
    before = sys.stdout, sys.stderr
    sys.stderr = SafeStream(before[1])
    sys.stdout = SafeStream(before[0])
    try:
        yield sys.stdout
    finally:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, SafeStream):
                stream.finish()
        sys.stdout, sys.stderr = before


def open_closed() -> None:
    """Connect each closed one of stdin, stdout and stderr to /dev/null.

    Otherwise Python sets it to None, and the next file that is opened gets its number: the output of a library or of a
    child process would go into a checkpoint.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)  # child processes get it too
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 (as long as the process lives)
            setattr(sys, name, stream)
