"""The directory of a series: its results, and a run directory for each run. Other directories of the user are refused.

It is recognised by results.json, or by the lock file of one of the series' runs. A directory without these is used only
if it is empty, or if a series wrote everything in it.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from distlenet import atomic
from distlenet.atomic import why_not_written
from distlenet.bounded import is_real_directory
from distlenet.errors import RunDirectoryError
from distlenet.runs import ours
from distlenet.runs.directory import RunDirectory, listed
from distlenet.runs.lock import is_mark
from distlenet.series.outcome import summarize_series
from distlenet.series.table import Rows, as_markdown, as_text, line, remarks
from distlenet.series.trials import Trial, read_outcomes

RUN = re.compile(r"seed-\d+")
RESULTS = ("results.json", "results.txt", "results.md")


class SeriesDirectory:
    """The directory ``path`` of the runs ``trials``, and the results next to them.

    ``make_rows`` makes the table of the results; ``keep_defective`` includes defective runs in it.
    """

    def __init__(
        self,
        path: Path,
        trials: Sequence[Trial],
        make_rows: Callable[[dict[str, Any]], Rows],
        title: str,
        keep_defective: bool = False,
    ) -> None:
        self._path, self._trials, self._make_rows, self._title = path, trials, make_rows, title
        self._keep_defective = keep_defective

    def check(self) -> None:
        """Raise RunDirectoryError unless the series and its runs may write here; changes nothing."""
        path, runs = self._path, [Path(trial.options.run_directory) for trial in self._trials]
        try:
            if not path.is_dir():
                return  # it does not exist yet; if it is a file, making the directory will fail
            marked = ours.is_series(path / "results.json") or any(is_mark(run / "lock") for run in runs)
            folders = {run.parent for run in runs}
            found = [] if marked else [each.name for each in sorted(path.iterdir()) if not _is_of_series(each, folders)]
            if found:
                raise RunDirectoryError(
                    f"{path} is not the directory of a series: it has {listed(found)}, which no series wrote; choose "
                    f"another directory, for example --run {path / 'series'}"
                )
            for run in runs:
                found = ours.foreign_entries(run) if run.is_dir() and not is_mark(run / "lock") else []
                if found:
                    raise RunDirectoryError(
                        f"{run}, the directory for a run of the series, has {listed(found)}, which no run wrote: move "
                        "it elsewhere, or choose another --run"
                    )
                RunDirectory(run).check()
        except OSError as error:
            raise RunDirectoryError(f"cannot read the directory {path}: {why_not_written(error)}") from error

    def save(self) -> tuple[dict[str, Any], Rows]:
        """Write the results of the finished runs; return them as in results.json, and as a table.

        Raises RunDirectoryError.
        """
        results = summarize_series(read_outcomes(self._trials), self._keep_defective)
        rows = self._make_rows(results)
        save(self._path, results, rows, self._title)
        return {"title": self._title, **results}, rows


def _is_of_series(path: Path, folders: set[Path]) -> bool:
    """Whether a series wrote the entry ``path`` of its directory; those in ``folders`` may still be empty."""
    if not is_real_directory(path):
        part = ours.PART.fullmatch(path.name)
        return part is not None and part["name"] in RESULTS
    inside = [path] if RUN.fullmatch(path.name) else list(path.iterdir())
    return all(map(_is_run, inside)) and (bool(inside) or path in folders)


def _is_run(path: Path) -> bool:
    marked = RUN.fullmatch(path.name) and is_real_directory(path)
    return bool(marked) and (is_mark(path / "lock") or not ours.foreign_entries(path))


def save(directory: Path, results: dict[str, Any], rows: Rows, title: str) -> None:
    """Write results.json, results.txt and results.md; raises RunDirectoryError."""
    notes = remarks(results)
    files = {
        "results.json": json.dumps({"title": title, **results}, indent=2) + "\n",
        "results.txt": "\n".join([title, "", as_text(rows), *notes, *map(line, results["runs"])]) + "\n",
        "results.md": "\n\n".join([title, as_markdown(rows), *notes]).rstrip() + "\n",
    }
    taken = [name for name in files if os.path.lexists(directory / name)]
    if taken and not ours.is_series(directory / "results.json"):
        raise RunDirectoryError(
            f"{directory / taken[0]} was not written by a series, but the series would replace it: move it elsewhere, "
            "or choose another --run"
        )
    for name, text in files.items():
        atomic.write(directory / name, text, RunDirectoryError)
