"""Figures of many runs: curves of loss and error, and the test accuracy of every run."""

from typing import TYPE_CHECKING

import numpy as np

from distlenet.report.figure import COLOURS, ERROR, HALF, SURFACE, TEXT, epoch_axis, new_figure, plain_text
from distlenet.runs.record import numbers
from distlenet.series.record import SeriesRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = ("-", "--", ":", "-.")
Runs = dict[str, list[SeriesRun]]


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
