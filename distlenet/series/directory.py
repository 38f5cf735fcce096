"""The directory of a series: its results, and a run directory for each run. A directory of the user's is left alone.

Its mark is results.json, or the mark of one of the runs that the series is to do. One that has none is used only if all
in it was written by a series, or it is empty.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from distlenet.atomic import why_not_written
from distlenet.bounded import is_real_directory
from distlenet.errors import RunDirectoryError
from distlenet.training import ours
from distlenet.training.lock import is_mark
from distlenet.training.rundir import NAMED, RunDirectory

RUN = re.compile(r"seed-\d+")
RESULTS = ("results.json", "results.txt", "results.md")


def check_series(path: Path, runs: Iterable[Path]) -> None:
    """Raise RunDirectoryError unless a series may write to ``path``, with its ``runs`` in there; nothing is changed."""
    try:
        if not path.is_dir():
            return  # there is none yet; a file in its place is an error of whoever makes the directory
        marked = ours.is_series(path / "results.json") or any(is_mark(run / "lock") for run in runs)
        folders = {run.parent for run in runs}
        found = [] if marked else [each.name for each in sorted(path.iterdir()) if not _is_of_series(each, folders)]
        if found:
            raise RunDirectoryError(
                f"{path} is not the directory of a series: it has {_listed(found)}, which no series wrote; give the "
                f"series a directory of its own, for example --run {path / 'series'}"
            )
        for run in runs:
            found = ours.strangers(run) if run.is_dir() and not is_mark(run / "lock") else []
            if found:
                raise RunDirectoryError(
                    f"{run}, which is to hold a run of the series, has {_listed(found)}, which no run wrote: move "
                    "that elsewhere, or choose another --run"
                )
            RunDirectory(run).check()
    except OSError as error:
        raise RunDirectoryError(f"cannot read the directory {path}: {why_not_written(error)}") from error


def _is_of_series(path: Path, folders: set[Path]) -> bool:
    """Whether a series wrote the entry ``path`` of its directory; ``folders`` may be empty yet."""
    if not is_real_directory(path):
        part = ours.PART.fullmatch(path.name)
        return part is not None and part["name"] in RESULTS
    inside = [path] if RUN.fullmatch(path.name) else list(path.iterdir())
    return all(map(_is_run, inside)) and (bool(inside) or path in folders)


def _is_run(path: Path) -> bool:
    marked = RUN.fullmatch(path.name) and is_real_directory(path)
    return bool(marked) and (is_mark(path / "lock") or not ours.strangers(path))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(map(repr, names[:NAMED]))}{more}"
