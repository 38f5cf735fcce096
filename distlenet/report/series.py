"""One page of many runs: the table, their curves, their spread, and a section for each setting."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distlenet.errors import CheckpointError
from distlenet.report.figure import COLOURS, ERROR, HALF, SURFACE, TEXT, epoch_axis, new_figure, plain_text, style
from distlenet.report.page import Book, Link, Written
from distlenet.runs.record import divergences, numbers
from distlenet.series.record import Series, SeriesRun, differing, read_series
from distlenet.series.table import COMPARED, comparison_rows, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = ("-", "--", ":", "-.")
Runs = dict[str, list[SeriesRun]]


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
    caption = (
        "Every run thin, the mean thick, the band from the lowest to the highest run; after a single epoch, a bar is "
        "the mean and its line goes from the lowest to the highest run."
    )
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


def line_style(place: int) -> tuple[str, str]:
    """Return colour and dashes of the setting at ``place``."""
    return COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]


def curves(by_setting: Runs, keep: bool) -> "dict[str, Figure]":
    """Draw loss and error by epoch: every run thin, the mean thick, a band from the lowest to the highest.

    Of the validation images, or, where none were held back, of the training images. Runs that do not count are left
    out unless ``keep``.
    """
    sound = {
        label: [run for run in runs if run.record.epochs and (keep or run.counts)] for label, runs in by_setting.items()
    }
    if not any(sound.values()):
        return {}
    epochs = [run.record.epochs[-1] for runs in by_setting.values() for run in runs if run.record.epochs]
    split = "validation" if all(epoch.get("validation") for epoch in epochs) else "train"
    name = "validation" if split == "validation" else "training"
    titles = {"loss": f"{name.capitalize()} loss", "error": f"{name.capitalize()} error, % of the images"}
    values: dict[str, dict[str, list[list[float]]]] = {"loss": {}, "error": {}}
    for label, runs in sound.items():
        losses = [numbers(run.record.epochs, split, "loss") for run in runs]
        errors = [[100 * (1 - value) for value in numbers(run.record.epochs, split, "accuracy")] for run in runs]
        values["loss"][label], values["error"][label] = losses, errors
    one = max(len(epochs) for lines in values["loss"].values() for epochs in lines) == 1
    draw = _at_one_epoch if one else _over_epochs
    return {name: draw(titles[name], lines) for name, lines in values.items()}


def _over_epochs(title: str, values: dict[str, list[list[float]]]) -> "Figure":
    """Draw the curves of each setting, a list of runs: each thin, the mean thick, a band from lowest to highest."""
    drawn = new_figure(3.3 + 0.1 * len(values), HALF)
    axes = drawn.subplots()
    for place, (label, lines) in enumerate(values.items()):
        _bundle(axes, lines, label, place)
    axes.set_title(title)
    epoch_axis(drawn)
    return drawn


def _at_one_epoch(title: str, values: dict[str, list[list[float]]]) -> "Figure":
    """Draw a bar for each setting, the mean of its runs, and a line from the lowest run to the highest."""
    drawn = new_figure(0.9 + 0.42 * len(values), HALF)
    axes = drawn.subplots()
    for place, lines in enumerate(values.values()):
        found = np.array([line[0] for line in lines if np.isfinite(line[0])])
        if len(found):
            mean = found.mean()
            axes.barh(place, mean, height=0.6, color=line_style(place)[0])
            axes.plot([found.min(), found.max()], [place, place], color=TEXT, linewidth=1.2, marker="|")
            axes.annotate(f"{mean:.3g}", (found.max(), place), (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(values)), [plain_text(label, 20) for label in values])
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    axes.grid(True, axis="x")
    axes.set_title(title)
    return drawn


def _bundle(axes: "Axes", lines: list[list[float]], label: str, place: int) -> None:
    """Draw the curves ``lines`` of one setting, with their mean and the band that they fill."""
    if not lines:
        return
    colour, dashes = line_style(place)
    longest = max(map(len, lines))
    values = np.full((len(lines), longest), np.nan)
    for row, line in zip(values, lines, strict=True):
        row[: len(line)] = line
    epochs = np.arange(1, longest + 1)
    there = np.isfinite(values).any(axis=0)
    if not there.any():
        return
    epochs, values = epochs[there], values[:, there]
    for row in values:
        axes.plot(epochs, row, color=colour, linewidth=0.6, alpha=0.5)
    if len(lines) > 1:
        axes.fill_between(epochs, np.nanmin(values, axis=0), np.nanmax(values, axis=0), color=colour, alpha=0.15, lw=0)
    mean = np.nanmean(values, axis=0)
    axes.plot(epochs, mean, dashes, color=colour, marker=".", linewidth=1.8, label=plain_text(label, 28))


def strips(by_setting: Runs, spreads: dict[str, dict], keep: bool) -> "Figure | None":
    """Draw the test accuracy of every run, with mean and 95 % confidence of each setting; None if none is known.

    ``spreads``: setting -> the Spread of its test accuracy as a dict. Of runs that do not count only the number is
    shown, unless ``keep``: they are at chance, and the others would be one dot.
    """
    if not spreads:
        return None
    drawn = new_figure(0.9 + 0.42 * len(by_setting), HALF)
    axes = drawn.subplots()
    for place, (label, runs) in enumerate(by_setting.items()):
        colour, _ = line_style(place)
        shown = [run for run in runs if "test_accuracy" in run.outcome.figures and (keep or run.counts)]
        apart = min(0.1, 0.5 / max(1, len(shown)))
        for row, run in enumerate(shown):
            offset = apart * (row - (len(shown) - 1) / 2)
            inside = SURFACE if run.outcome.heals else colour
            axes.plot(
                100 * run.outcome.figures["test_accuracy"],
                place + offset,
                "o",
                markersize=5,
                color=colour,
                markerfacecolor=inside,
            )
        found = spreads.get(label)
        if found:
            mean, half = 100 * found["mean"], 100 * (found["interval"] or 0)
            inside_100 = [[half], [min(half, 100 - mean)]]
            axes.errorbar(mean, place, xerr=inside_100, fmt="|", color=TEXT, markersize=13, capsize=3, linewidth=1)
        hidden = len(runs) - len(shown)
        if hidden:
            axes.annotate(
                f"{hidden} of {len(runs)} defective",
                (1, place),
                (4, 0),
                ("axes fraction", "data"),
                "offset points",
                fontsize=8,
                va="center",
                color=ERROR,
            )
    axes.set_yticks(range(len(by_setting)), [plain_text(label, 28) for label in by_setting])
    axes.set_ylim(len(by_setting) - 0.5, -0.5)
    axes.set_xlabel("test accuracy (%)")
    axes.grid(True, axis="x")
    return drawn
