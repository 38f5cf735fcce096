"""One page of many runs: the table, their curves, their spread, and a section for each setting."""

import os
from collections.abc import Callable
from pathlib import Path

from distlenet.errors import CheckpointError
from distlenet.report.figure import style
from distlenet.report.page import Book, Link, Written
from distlenet.report.series_figures import curves, strips
from distlenet.runs.record import divergences
from distlenet.series.record import Series, SeriesRun, differing, read_series
from distlenet.series.table import COMPARED, comparison_rows, figure

CURVES = "Every run thin, the mean thick, the band from the lowest to the highest run."


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
    for run in series.runs:
        if report_run is None:
            break
        say(f"{run.record.path}")
        try:
            series.notes.extend(f"{run.record.path}: {note}" for note in report_run(run.record.path).notes)
        except CheckpointError as error:  # a run that was defective from the start
            series.notes.append(f"there is no report of {run.record.path}: {error}")
    book = Book()
    say("drawing")
    with style():
        overview(book, series)
        for label, runs in series.by_setting().items():
            setting(book, label, runs, out)
    count = len(series.by_setting())
    title = f"{count} settings side by side" if count > 1 else series.title
    return book.write(out, title, f"{series.title}: {len(series.runs)} runs in {path}.", series.notes)


def overview(book: Book, series: Series) -> None:
    """Add the table and figures of all settings, and the values in which they differ."""
    settings, by_setting = series.results["settings"], series.by_setting()
    keep = series.results["defective_runs"] == "kept"
    section = book.section("Results")
    for note in series.notes:
        section.note(note)
    section.facts(_strip(series))
    head, *rows = comparison_rows(series.results, "±")
    section.table(rows, head)
    section.text(
        "Mean ± standard deviation over the seeds. Healed: runs that diverged and went back by themselves. Defective "
        f"runs, not finite or at chance, are {series.results['defective_runs']}{'' if keep else ' of the means'}."
    )
    section = book.section("Test accuracy")
    spreads = {label: figures for label, s in settings.items() if (figures := s["figures"].get("test_accuracy"))}
    caption = "One dot a run, hollow if it healed; the line is the mean with its 95 % confidence interval."
    book.figure(section, "accuracy", strips(by_setting, spreads, keep), caption)
    section = book.section("Learning")
    one = max(len(run.record.epochs) for run in series.runs) == 1
    caption = "A bar is the mean; its line goes from the lowest to the highest run." if one else CURVES
    book.figures(section, curves(by_setting, keep), caption)
    values = differing(series)
    if values:
        rows = [[name, *row] for name, row in values.items()]
        book.section("Settings").table(rows, ["setting", *by_setting])


def _strip(series: Series) -> list[tuple[str, str]]:
    """Return the facts on top: the accuracy of one setting, or the number of several; runs, and their faults."""
    settings, runs = series.results["settings"], series.runs
    spreads = [settings[label]["figures"].get("test_accuracy") for label in settings]
    if len(settings) > 1:
        facts = [("settings", str(len(settings)))]
    elif spreads[0]:
        facts = [("test accuracy, mean", figure("test_accuracy", spreads[0]["mean"]))]
        if spreads[0]["deviation"] is not None:
            facts.append(("standard deviation", figure("test_accuracy", spreads[0]["deviation"])))
        facts.append(("lowest", figure("test_accuracy", spreads[0]["least"])))
        facts.append(("highest", figure("test_accuracy", spreads[0]["most"])))
    else:
        facts = []
    seconds = [run.outcome.figures["seconds"] for run in runs if "seconds" in run.outcome.figures]
    facts += [("runs", str(len(runs))), ("time of all runs", figure("seconds", sum(seconds)))]
    facts.append(("healed", str(sum(bool(run.outcome.heals) for run in runs))))
    facts.append(("defective", str(sum(not run.counts for run in runs))))
    start = next((line for line in runs[0].record.happenings if line["kind"] == "start"), {})
    return facts + [(name, str(start[name])) for name in ("date", "host", "command") if start.get(name)]


def setting(book: Book, label: str, runs: list[SeriesRun], out: Path) -> None:
    """Add the runs of one setting, with links to their reports, and their divergences."""
    section = book.section(label)
    head = ["seed", *COMPARED.values(), "best epoch", "healed", "defect", "report"]
    section.table([_run_row(run, out) for run in runs], head)
    for run in runs:
        for sentence in divergences(run.record.summary):
            section.text(f"Seed {run.outcome.seed}, {sentence}.")


def _run_row(run: SeriesRun, out: Path) -> list[object]:
    outcome, own = run.outcome, run.record.path / "report" / "report.html"
    figures = [figure(name, outcome.figures.get(name)) for name in COMPARED]
    there = Link(str(run.record.path), os.path.relpath(own, out)) if own.is_file() else str(run.record.path)
    best = run.record.summary.get("evaluated") or "-"
    return [outcome.seed, *figures, best, outcome.heals or "-", outcome.defect or "-", there]
