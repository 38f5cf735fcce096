"""Formatting of figures and lines, and commands that the user can type as shown."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

GAP = "   "  # between two figures in a line
RESUME = "the same command and --resume"  # resumes a stopped run
# All displays use these words, and those of the journal: "running", "train", "validation", "test".
LEGEND = {
    "running": "this epoch so far, the images as trained on",
    "train, valid": "after the epoch, images as they are",
    "*": "best valid so far",
    "exchange": "share of the time spent between ranks",
}
QUICKSTART = "DISTLENET_QUICKSTART"  # set by scripts/quickstart, which shows the last screen itself
PURPOSES = {
    "evaluate": "figures for each class",
    "report": "curves, mistakes and kernels on one page",
    "predict": "read your own picture",
    "draw": "draw digits in the browser",
}
Hints = Sequence[tuple[str, str]]  # (command, purpose)


def duration(seconds: float | None) -> str:
    """Return ``seconds`` as "42s", "3m05s", "2h10m" or "1d04h"; "?" for None."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    for size, unit, small, mark in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // small:02d}{mark}"
    return f"{whole}s"


def milliseconds(seconds: float | None) -> str:
    """Return ``seconds`` as "4.72" or "1,250", in milliseconds; "-" for None."""
    if seconds is None:
        return "-"
    return f"{1000 * seconds:.2f}" if seconds < 0.1 else f"{1000 * seconds:,.0f}"


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share of 0 to 1 as "98.70%"; "-" for None."""
    return "-" if share is None else f"{100 * share:.{digits}f}%"


def number(loss: float | None) -> str:
    """Return a loss as "0.0213" or "1.2e+06"; "-" for None."""
    if loss is None:
        return "-"
    return f"{loss:.4f}" if abs(loss) < 10_000 else f"{loss:.4g}"


def flow(items: Iterable[str], width: int, gap: str = GAP) -> list[str]:
    """Return ``items`` joined by ``gap`` into lines of at most ``width``; longer items are cut."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + len(gap) + len(item) <= width:
            lines[-1] += gap + item
        else:
            lines.append(item[:width])
    return lines


def hints(
    run: str, data: str, commands: Sequence[str] = ("evaluate", "report", "predict"), model: str | None = None
) -> Hints:
    """Return ``commands`` to try on the run in directory ``run``, ready to be typed.

    ``model`` is the network that the user named; a user-defined one (FILE.py:FUNCTION) is added to the commands.
    """
    data = f" --data {shlex.quote(data)}"
    more = {"evaluate": data, "report": data, "predict": " photo.jpg"}
    own = f" --model {shlex.quote(model)}" if model and ":" in model else ""
    program, run = program_name(), shlex.quote(run)
    return [(f"{program} {command} {run}{more.get(command, '')}{own}", PURPOSES[command]) for command in commands]


def program_name() -> str:
    """Return how to call this program: "distlenet", or its path if the PATH does not lead to it."""
    installed = Path(sys.executable).with_name("distlenet")
    found = shutil.which("distlenet")
    if found and installed.exists() and os.path.samefile(found, installed):
        return "distlenet"
    if not installed.exists():
        return f"{shlex.quote(sys.executable)} -m distlenet"
    here = Path.cwd()
    return shlex.quote(str(installed.relative_to(here) if installed.is_relative_to(here) else installed))
