"""One page of many runs: the table, their curves, their spread, and a section for each setting."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distlenet.errors import CheckpointError
from distlenet.report import series_figures
from distlenet.report.book import Book
from distlenet.report.page import Link, page
from distlenet.report.run import divergences
from distlenet.report.series import Series, SeriesRun, differing, read_series
from distlenet.report.write import Written, write_files

COLUMNS = {  # figure of an outcome: title, factor, decimals
    "test_accuracy": ("test %", 100, 2),
    "val_accuracy": ("validation %", 100, 2),
    "seconds": ("seconds", 1, 1),
    "images_per_second": ("images/s", 1, 0),
    "parameters": ("parameters", 1, 0),
}


def write_series_report(
    path: Path,
    out: Path | None,
    say: Callable[[str], None] = lambda text: None,
    report_run: Callable[[Path], Written] | None = None,
) -> Written:
    """Write the page of the series in ``path`` to the directory ``out`` (default: ``path``/report).

    ``report_run`` writes the report of each run, before its page is linked to. Raises RunDirectoryError: the results
    cannot be read, or ``out`` cannot be written.
    """
    say("reading the runs")
    series = read_series(path)
    out = out or path / "report"
    for run in series.runs if report_run else []:
        say(f"{run.path}")
        try:
            series.notes.extend(f"{run.path}: {note}" for note in report_run(run.path).notes)
        except CheckpointError as error:  # a run that was defective from the start
            series.notes.append(f"there is no report of {run.path}: {error}")
    book = Book()
    say("drawing")
    overview(book, series)
    for label, runs in series.by_setting().items():
        setting(book, label, runs, out)
    count = len(series.by_setting())
    title = f"{count} settings side by side" if count > 1 else series.title
    html = page(title, f"{series.title}: {len(series.runs)} runs in {path}.", book.sections)
    write_files(out, {"report.html": html.encode("utf-8"), **book.files})
    return Written(out / "report.html", len(book.files), series.notes)


def overview(book: Book, series: Series) -> None:
    """Add what all settings have in common: table, figures, and the settings in which they differ."""
    settings, by_setting = series.results["settings"], series.by_setting()
    keep = series.results["defective_runs"] == "kept"
    section = book.section("Results")
    for note in series.notes:
        section.note(note)
    head = ["setting", "runs", *(title for title, _, _ in COLUMNS.values()), "healed", "defective"]
    section.table([_row(label, found) for label, found in settings.items()], head)
    section.text(
        "Mean ± standard deviation over the seeds. Healed: runs that diverged and went back by themselves. Defective "
        f"runs, not finite or at chance, are {series.results['defective_runs']}{'' if keep else ' of the means'}."
    )
    section = book.section("Test accuracy")
    spreads = {label: figures for label, s in settings.items() if (figures := s["figures"].get("test_accuracy"))}
    caption = "One dot a run, hollow if it healed; the line is the mean with its 95 % confidence interval."
    book.figure(section, "accuracy", series_figures.strips(by_setting, spreads, keep), caption)
    section = book.section("Learning")
    caption = "Every run thin, the mean thick, the band from the lowest to the highest run."
    book.figures(section, series_figures.curves(by_setting, keep), caption)
    values = differing(series)
    if values:
        rows = [[name, *row] for name, row in values.items()]
        book.section("Settings").table(rows, ["setting", *by_setting])


def _row(label: str, found: dict[str, Any]) -> list[str]:
    runs, healed, bad = found["runs"], len(found["healed"]), len(found["defective"])
    return [
        label,
        f"{runs}",
        *(_spread(found["figures"].get(name), factor, decimals) for name, (_, factor, decimals) in COLUMNS.items()),
        f"{healed} of {runs} ({found['heals']} ×)" if healed else "none",
        f"{bad} of {runs}" if bad else "none",
    ]


def _spread(found: dict[str, Any] | None, factor: float, decimals: int) -> str:
    if found is None:
        return "-"
    mean, deviation = (f"{factor * (found[key] or 0):,.{decimals}f}" for key in ("mean", "deviation"))
    return f"{mean} ± {deviation}" if found["deviation"] else mean


def setting(book: Book, label: str, runs: list[SeriesRun], out: Path) -> None:
    """Add the runs of one setting, with links to their own reports, and what went wrong in them."""
    section = book.section(label)
    head = ["seed", *(title for title, _, _ in COLUMNS.values()), "best epoch", "healed", "defect", "report"]
    section.table([_run_row(run, out) for run in runs], head)
    for run in runs:
        for sentence in divergences(run.summary):
            section.text(f"Seed {run.outcome.seed}, {sentence}.")


def _run_row(run: SeriesRun, out: Path) -> list[object]:
    outcome, own = run.outcome, run.path / "report" / "report.html"
    figures = [
        f"{factor * outcome.figures[name]:,.{decimals}f}" if name in outcome.figures else "-"
        for name, (_, factor, decimals) in COLUMNS.items()
    ]
    there = Link(str(run.path), os.path.relpath(own, out)) if own.is_file() else str(run.path)
    best = run.summary.get("evaluated") or "-"
    return [outcome.seed, *figures, best, outcome.heals or "-", outcome.defect or "-", there]
