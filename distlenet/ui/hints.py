"""Commands to try next, as they can be typed where the user is."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

QUICKSTART = "DISTLENET_QUICKSTART"  # set where the script itself ends with the last screen
PURPOSES = {
    "evaluate": "figures of each class",
    "report": "curves, mistakes and kernels on one page",
    "predict": "read a picture of yours",
    "draw": "draw digits in the browser",
}
Hints = Sequence[tuple[str, str]]  # a command, and what it is for


def hints(
    run: str, data: str, commands: Sequence[str] = ("evaluate", "report", "predict"), model: str | None = None
) -> Hints:
    """Return ``commands`` to try on the run in directory ``run``, as they can be typed here.

    ``model``: the network that the user named; one of the user's own (FILE.py:FUNCTION) is named again.
    """
    more = {"evaluate": f" --data {shlex.quote(data)}", "report": f" --data {shlex.quote(data)}"}
    more["predict"] = " photo.jpg"
    own = f" --model {shlex.quote(model)}" if model and ":" in model else ""
    program, run = program_name(), shlex.quote(run)
    return [(f"{program} {command} {run}{more.get(command, '')}{own}", PURPOSES[command]) for command in commands]


def program_name() -> str:
    """Return how this program is called from here: "distlenet", or its path where the PATH does not lead to it."""
    beside = Path(sys.executable).with_name("distlenet")
    found = shutil.which("distlenet")
    if found and beside.exists() and os.path.samefile(found, beside):
        return "distlenet"
    if not beside.exists():
        return f"{shlex.quote(sys.executable)} -m distlenet"
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))
