"""The figures of a series as text: a line for each run, and tables in plain text or Markdown."""

from typing import Any

from distlenet.streams import clean

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
    # for a single run
    "test_loss": ("test loss", "", 1, 4),
    "epochs": ("epochs", "", 1, 0),
    "steps": ("steps", "", 1, 0),
    "ranks": ("ranks", "", 1, 0),
    "reduce_share": ("share of a step spent in the exchange", "%", 100, 1),
    "memory_mib": ("memory of a rank, at most", "MiB", 1, 0),
}
COMPARED = {  # name: title in the narrow columns of a comparison
    "test_accuracy": "test",
    "val_accuracy": "valid",
    "seconds": "time",
    "images_per_second": "images/s",
    "parameters": "parameters",
}
Rows = list[list[str]]  # the first is the header


def line(run: dict[str, Any], kept: bool = False) -> str:
    """Return the line of a finished run; ``run`` is an Outcome as a dict."""
    words = {"test_accuracy": "test ", "val_accuracy": "valid ", "seconds": ""}
    parts = [word + figure(name, run["figures"][name]) for name, word in words.items() if name in run["figures"]]
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


def comparison_rows(results: dict[str, Any], sign: str = "+-") -> Rows:
    """Return one row for each setting of ``results`` (see summarize_series): mean ``sign`` standard deviation."""
    rows = [["setting", "runs", *COMPARED.values(), "healed", "defective"]]
    for label, setting in results["settings"].items():
        cells = []
        for name in COMPARED:
            spread = setting["figures"].get(name)
            deviation = spread and name != "parameters" and spread["deviation"] is not None
            cells.append(
                f"{figure(name, spread['mean'], unit=False)} {sign} {figure(name, spread['deviation'])}"
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
                high = min(1.0, high) if name.endswith(("accuracy", "error")) else high  # a t interval is not bounded
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


def as_text(rows: Rows) -> str:
    """Return ``rows`` as plain text with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(f"{cell:{'>' if place else '<'}{widths[place]}}" for place, cell in enumerate(row)) for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def as_markdown(rows: Rows) -> str:
    """Return ``rows`` as a Markdown table."""
    marks = [":--"] + ["--:"] * (len(rows[0]) - 1)
    cells = [[cell.replace("|", "\\|") for cell in row] for row in [rows[0], marks, *rows[1:]]]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)
