"""Detects what a stream can display."""

import os
import stat
from typing import TextIO

from distlenet.streams import SafeStream

RANK = "OMPI_COMM_WORLD_RANK"  # set by Open MPI's mpirun
MODES = ("auto", "live", "plain", "quiet")


def window(stream: TextIO | SafeStream) -> tuple[int, int]:
    """Return (columns, rows) of the terminal window behind ``stream``, or (0, 0) without one."""
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError, AttributeError):  # no descriptor, closed, or not a terminal
        return (0, 0)
    return (columns and RANK in os.environ and mpirun_window()) or (columns, rows)


def mpirun_window() -> tuple[int, int] | None:
    """Return (columns, rows) of the terminal of the mpirun that started this process, or None without one.

    Under Open MPI a rank's own terminal keeps the size that mpirun's terminal had at the start.
    """
    try:
        path = f"/proc/{os.getppid()}/fd/1"
        if not stat.S_ISCHR(os.stat(path).st_mode):
            return None
        terminal = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            columns, rows = os.get_terminal_size(terminal)
            return columns, rows
        finally:
            os.close(terminal)
    except OSError:
        return None


def is_live(stream: TextIO) -> bool:
    """Whether bars may be drawn on ``stream``."""
    return explain(stream)[0] == "live"


def is_cell(stream: TextIO) -> bool:
    """Whether ``stream`` is that of a notebook's cell."""
    below = stream.stream if isinstance(stream, SafeStream) else stream
    return type(below).__module__.split(".")[0] == "ipykernel"


def explain(stream: TextIO) -> tuple[str, str]:
    """Return the mode that "auto" chooses for ``stream``, "live", "plain" or "notebook", and the reason.

    A terminal is not enough for "live". Open MPI gives every rank one, even if mpirun's output goes to a file; its
    window has no columns then. The environment variable COLUMNS does not tell the two cases apart.
    """
    if is_cell(stream):  # behind it may be the terminal in which the notebook's server runs
        return "notebook", "a notebook's cell"
    columns = window(stream)[0]
    try:
        terminal = stream.isatty()
    except (OSError, ValueError, AttributeError):
        terminal = False
    if not terminal:
        return "plain", "the output is a pipe or a file"
    if columns == 0:
        return "plain", "a terminal without a window: the output of Open MPI's mpirun goes to a pipe or a file"
    if os.environ.get("TERM") == "dumb":
        return "plain", "TERM is dumb"
    return "live", f"a terminal of {columns} columns"


def choose(mode: str, stream: TextIO) -> str:
    """Return "live", "plain", "quiet" or "notebook": ``mode``, or for "auto" the mode that suits ``stream``.

    "live" in a notebook is "notebook": bars of a terminal cannot be drawn there.
    """
    if mode not in MODES:
        raise ValueError(f"display mode: got {mode!r}, expected one of {', '.join(MODES)}")
    return explain(stream)[0] if mode == "auto" or (mode == "live" and is_cell(stream)) else mode
