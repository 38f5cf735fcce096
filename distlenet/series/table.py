"""What ``repeat`` and ``compare`` show and leave behind: a line for each run, and tables."""

import io
import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from distlenet import atomic
from distlenet.errors import RunDirectoryError
from distlenet.streams import clean, say
from distlenet.training.ours import is_series
from distlenet.ui.console import SafeConsole
from distlenet.ui.display import duration, percent

FIGURES = {  # name: title, unit, factor, decimals
    "test_accuracy": ("test accuracy", "%", 100, 2),
    "test_error": ("test error", "%", 100, 2),
    "val_accuracy": ("validation accuracy", "%", 100, 2),
    "seconds": ("time", "s", 1, 1),
    "training_seconds": ("training", "s", 1, 1),
    "validation_seconds": ("validation", "s", 1, 2),
    "epoch_seconds": ("an epoch", "s", 1, 2),
    "step_seconds": ("a step", "ms", 1000, 2),
    "images_per_second": ("images/s", "", 1, 0),
    "parameters": ("parameters", "", 1, 0),
}
COMPARED = {  # name: title in the narrow columns of a comparison
    "test_accuracy": "test",
    "val_accuracy": "valid",
    "seconds": "time",
    "images_per_second": "images/s",
    "parameters": "parameters",
}
# columns leave a narrow window in this order
NARROW = ("parameters", "images/s", "least", "most", "healed", "runs", "deviation", "time", "valid", "95 % confidence")
GAP = 2  # cells between two columns
Rows = list[list[str]]  # the first is the header


def line(run: dict[str, Any], kept: bool = False) -> str:
    """Return the line of a run that is over; ``run`` is an Outcome as a dict."""
    figures = run["figures"]
    parts = [f"test {percent(figures['test_accuracy'])}"] if "test_accuracy" in figures else []
    if "val_accuracy" in figures:
        parts.append(f"valid {percent(figures['val_accuracy'])}")
    if "seconds" in figures:
        parts.append(duration(figures["seconds"]))
    parts += [f"healed {times(run['heals'])}"] * bool(run["heals"])
    parts += [f"DEFECTIVE: {run['defect']}"] * bool(run["defect"]) + ["from before"] * kept
    return f"{clean(run['setting'])} seed {run['seed']}: {', '.join(parts)}"


def times(count: int) -> str:
    """Return "once" or "3 times"."""
    return "once" if count == 1 else f"{count} times"


def figure(name: str, value: float | None, unit: bool = True) -> str:
    """Return ``value`` of the figure ``name`` as text, "-" for None."""
    if value is None:
        return "-"
    _, its_unit, factor, decimals = FIGURES[name]
    return f"{value * factor:,.{decimals}f}" + (f" {its_unit}" if unit and its_unit else "")


def comparison_rows(results: dict[str, Any]) -> Rows:
    """Return one row for each setting of ``results`` (see summarize_series): mean and standard deviation."""
    rows = [["setting", "runs", *COMPARED.values(), "healed", "defective"]]
    for label, setting in results["settings"].items():
        cells = []
        for name in COMPARED:
            spread = setting["figures"].get(name)
            deviation = spread and name != "parameters" and spread["deviation"] is not None
            cells.append(
                f"{figure(name, spread['mean'], unit=False)} +- {figure(name, spread['deviation'])}"
                if deviation
                else figure(name, spread and spread["mean"])
            )
        runs, healed, bad = setting["runs"], len(setting["healed"]), len(setting["defective"])
        cells.append(f"{healed} of {runs} ({times(setting['heals'])})" if healed else "none")
        rows.append([clean(label), f"{runs}", *cells, f"{bad} of {runs}" if bad else "none"])
    return rows


def repeat_rows(results: dict[str, Any]) -> Rows:
    """Return one row for each figure of a series of one setting: mean, spread, confidence, extremes."""
    rows = [["", "mean", "deviation", "95 % confidence", "least", "most", "runs"]]
    for setting in results["settings"].values():
        for name in FIGURES:
            spread, low_high = setting["figures"].get(name), None
            if spread is None or name == "parameters":
                continue
            if spread["interval"] is not None:
                low, high = max(0.0, spread["mean"] - spread["interval"]), spread["mean"] + spread["interval"]
                high = min(1.0, high) if name.endswith(("accuracy", "error")) else high  # a t interval knows no bounds
                low_high = f"{figure(name, low, unit=False)} to {figure(name, high)}"
            cells = [figure(name, spread[key]) for key in ("mean", "deviation", "least", "most")]
            rows.append([FIGURES[name][0], *cells[:2], low_high or "-", *cells[2:], f"{spread['count']}"])
    return rows


def remarks(results: dict[str, Any]) -> list[str]:
    """Return a sentence for each setting with defective runs, and one for each with runs that healed."""
    found = []
    for label in results["settings"]:
        runs = [run for run in results["runs"] if run["setting"] == label]
        bad = [f"seed {run['seed']} ({run['defect']})" for run in runs if run["defect"]]
        healed = [f"seed {run['seed']} ({times(run['heals'])})" for run in runs if run["heals"]]
        if bad:
            found.append(f"{clean(label)}: defective and {results['defective_runs']}: {', '.join(bad)}")
        if healed:
            found.append(f"{clean(label)}: diverged and went back: {', '.join(healed)}")
    return found


def fitted(rows: Rows, width: int) -> Rows:
    """Return ``rows`` with those columns that have room in ``width`` cells; the files of results have all."""
    rows = [list(row) for row in rows]
    for name in NARROW:
        widest = [max(map(len, column)) for column in zip(*rows, strict=True)]
        if sum(widest) + GAP * len(widest) <= width:
            break
        if name in rows[0]:
            place = rows[0].index(name)
            for row in rows:
                del row[place]
    return rows


def table(rows: Rows) -> Table:
    """Return ``rows`` as a table for the terminal."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for place, head in enumerate(rows[0]):
        shown.add_column(head, justify="right" if place else "left", no_wrap=bool(place))
    for row in rows[1:]:
        shown.add_row(*map(Text, row))
    return shown


def as_text(rows: Rows) -> str:
    """Return ``rows`` as plain text with aligned columns."""
    file = io.StringIO()
    SafeConsole(file, width=200, no_color=True, force_terminal=False).print(table(rows))
    return "\n".join(written.rstrip() for written in file.getvalue().splitlines()) + "\n"


def as_markdown(rows: Rows) -> str:
    """Return ``rows`` as a table of Markdown."""
    marks = [":--"] + ["--:"] * (len(rows[0]) - 1)
    cells = [[cell.replace("|", "\\|") for cell in row] for row in [rows[0], marks, *rows[1:]]]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def save(directory: str, results: dict[str, Any], rows: Rows, title: str) -> None:
    """Write results.json, results.txt and results.md; raises RunDirectoryError."""
    notes = remarks(results)
    files = {
        "results.json": json.dumps({"title": title, **results}, indent=2) + "\n",
        "results.txt": "\n".join([title, "", as_text(rows), *notes, *map(line, results["runs"])]) + "\n",
        "results.md": "\n\n".join([title, as_markdown(rows), *notes]).rstrip() + "\n",
    }
    taken = [name for name in files if os.path.lexists(Path(directory, name))]
    if taken and not is_series(Path(directory) / "results.json"):
        raise RunDirectoryError(
            f"{Path(directory) / taken[0]} was not written by a series, which would replace it: move it elsewhere, "
            "or choose another --run"
        )
    for name, text in files.items():
        atomic.write(Path(directory) / name, text, RunDirectoryError)


def show(console: Console, results: dict[str, Any], rows: Rows) -> None:
    """Print the table and what is to be said about it."""
    if console.is_terminal:
        console.print(table(fitted(rows, console.width)))
    else:  # a log has room for every column
        print(as_text(rows), end="")
    for note in remarks(results):
        say(note)
