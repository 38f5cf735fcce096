"""Reading the directory of ``repeat`` or ``compare``: the finished runs, and the settings in which they differ."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distlenet.bounded import read_json
from distlenet.config import Config
from distlenet.errors import ConfigError, RunDirectoryError
from distlenet.recipes import build_config
from distlenet.runs.record import Record, read_record
from distlenet.series.outcome import Outcome, outcome_of, summarize_series

RESULTS = "results.json"


@dataclass(frozen=True)
class SeriesRun:
    """One run of a series."""

    outcome: Outcome
    record: Record
    config: Config | None  # None if its file cannot be read

    @property
    def counts(self) -> bool:
        """Whether the run is sound."""
        return self.outcome.defect is None


@dataclass(frozen=True)
class Series:
    """The content of a series' files; ``notes`` are sentences about missing runs."""

    path: Path
    title: str
    runs: list[SeriesRun]
    results: dict[str, Any]  # see summarize_series
    notes: list[str]

    def by_setting(self) -> dict[str, list[SeriesRun]]:
        """Return the runs of each row of the table, in its order."""
        found: dict[str, list[SeriesRun]] = {}
        for run in self.runs:
            found.setdefault(run.outcome.setting, []).append(run)
        return found


def is_series(path: Path) -> bool:
    """Whether ``path`` is the directory of a series, not of one run."""
    return (path / RESULTS).is_file()


def read_series(path: Path) -> Series:
    """Read the directory ``path``; raises RunDirectoryError if its results are damaged or name no finished run."""
    try:
        listed = read_json(path / RESULTS)
        keep = listed["defective_runs"] == "kept"
        rows = [(str(run["setting"]), int(run["seed"]), str(run["directory"])) for run in listed["runs"]]
        title = str(listed["title"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise RunDirectoryError(
            f"{path / RESULTS} cannot be read ({error}): run the command of the series again, which keeps finished runs"
        ) from error
    runs, notes = [], []
    for setting, seed, directory in rows:
        place = locate(path, directory)
        record = read_record(place, steps=False) if place else None
        outcome = outcome_of(record, setting, seed) if record else None
        if record is None or outcome is None:
            where = place or path / Path(directory).name
            notes.append(f"{setting} seed {seed}: found no finished run in {where}, left out")
        else:
            try:
                config = build_config(file=record.path / "config.toml")
            except ConfigError:
                config = None
            runs.append(SeriesRun(outcome, record, config))
    if not runs:
        raise RunDirectoryError(f"{path} has no finished run: {notes[0] if notes else 'its list is empty'}")
    return Series(path, title, runs, summarize_series([run.outcome for run in runs], keep), notes)


def locate(path: Path, directory: str) -> Path | None:
    """Return the path of the run ``directory`` inside ``path``, which may have been moved, or None.

    Runs elsewhere are never used: the results may come from an untrusted source, and reports are written to these runs.
    """
    parts = Path(directory).parts
    inside = [path.joinpath(*parts[-depth:]) for depth in (2, 1) if len(parts) >= depth]
    home = path.resolve()
    sound = (place for place in inside if place.is_dir() and home in place.resolve().parents)
    return next(sound, None)


def differing(series: Series) -> dict[str, list[Any]]:
    """Return the settings (except the seed) that differ between the table's rows: name -> one value per row."""
    firsts = [runs[0].config for runs in series.by_setting().values()]
    tables = [config.to_dict() if config else {} for config in firsts]
    names = [name for name in Config().to_dict() if name != "seed"]
    values = {name: [table.get(name, "?") for table in tables] for name in names}
    return {name: row for name, row in values.items() if len(set(map(str, row))) > 1}
