"""What all figures share, matplotlib without a window, colours that follow the page, SVG; and the curves of a run."""

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from distlenet.errors import UsageError, missing_extra
from distlenet.runs.ours import SOFTWARE
from distlenet.runs.record import Record, numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.0  # inches of a figure as wide as the page
HALF = 4.1  # of one that shares a row with another
TEXT, QUIET, LINE, SURFACE, ERROR = "#1b1f24", "#4f5862", "#d0d6dd", "#ffffff", "#a3260f"
COLOURS = ("#0b63b0", "#b3470a", "#00795a", "#a8478a", "#6a5acd", "#8a6d00", "#5b6570")
# A figure is drawn in the colours of the light page; within the page they are the variables of its style sheet.
VARIABLES = {TEXT: "text", QUIET: "quiet", LINE: "line", SURFACE: "surface", ERROR: "error"}
VARIABLES |= {colour: f"series-{place}" for place, colour in enumerate(COLOURS, 1)}
CURVES = (
    ("running", "training, while learning"),
    ("train", "training, after the epoch"),
    ("validation", "validation"),
    ("test", "test (watched)"),
)
STYLE: Any = {  # matplotlib's names
    **{"text.color": TEXT, "axes.labelcolor": QUIET, "xtick.color": QUIET, "ytick.color": QUIET},
    **{"axes.edgecolor": LINE, "axes.facecolor": "none", "figure.facecolor": SURFACE, "grid.color": LINE},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "grid.linewidth": 0.6},
    **{"axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 9},
    **{"axes.labelsize": 9, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "legend.fontsize": 8.5},
    **{"xtick.major.size": 0, "ytick.major.size": 0, "ytick.minor.size": 0, "legend.frameon": False},
    **{"svg.fonttype": "none", "svg.hashsalt": SOFTWARE},
}


def style() -> "AbstractContextManager[None]":
    """Return a context in which figures look alike; raises UsageError without matplotlib."""
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise UsageError(missing_extra("the report", "matplotlib", "report")) from error
    return rc_context(STYLE)


def new_figure(height: float, width: float = WIDTH) -> "Figure":
    """Return an empty figure of ``width`` x ``height`` inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plain_text(text: str, length: int = 24) -> str:
    """Return a class or layer name for a figure: one line, not too long, no formula."""
    line = "".join(c if c.isprintable() else "?" for c in text)
    line = line if len(line) <= length else line[: length - 1] + "…"
    return line.replace("$", r"\$")  # else the start of a formula


def as_svg(figure: "Figure") -> str:
    """Return ``figure`` as an SVG file whose text is text."""
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a script that the font lacks: measured as boxes
        figure.savefig(stream, format="svg", metadata={"Creator": SOFTWARE, "Date": None})
    return re.sub(r"(font: [\d.]+px )[^;\"]*", r"\1system-ui, sans-serif", stream.getvalue())


def within_page(svg: str, name: str) -> str:
    """Return the file ``svg`` as an element of a page: its colours follow the page, its ids begin with ``name``."""
    element = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    element = re.sub(r'\A<svg[^>]* viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', element)
    element = element.replace("xlink:href", "href")
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', element))
    element = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", element)
    element = re.sub(r'(url\(#| id="|href="#)', rf"\g<1>{name}-", element)
    return re.sub("|".join(VARIABLES), lambda found: f"var(--{VARIABLES[found[0]]})", element)


def learning(run: Record) -> "dict[str, Figure]":
    """Draw loss and error after each epoch; nothing if no epoch is complete."""
    if not run.epochs:
        return {}
    losses = {name: numbers(run.epochs, split, "loss") for split, name in CURVES}
    accuracies = {name: numbers(run.epochs, split, "accuracy") for split, name in CURVES}
    known = [name for name, values in losses.items() if not all(map(math.isnan, values))]
    errors = {name: [100 * (1 - value) for value in accuracies[name]] for name in known}
    epochs = [epoch + 1 for epoch in numbers(run.epochs, "epoch")]
    return {
        "loss": by_epoch("Loss", epochs, {name: losses[name] for name in known}),
        "error": by_epoch("Error, % of the images", epochs, errors),
    }


def by_epoch(title: str, epochs: Sequence[float], lines: Mapping[str, Sequence[float]]) -> "Figure":
    """Draw ``lines``, name -> a value for each of ``epochs``; a single epoch as bars."""
    figure = new_figure(3.5, HALF) if len(epochs) > 1 else new_figure(0.9 + 0.42 * len(lines), HALF)
    axes = figure.subplots()
    if len(epochs) == 1:
        bars(axes, {name: values[0] for name, values in lines.items()})
        axes.set_title(f"{title}, epoch {epochs[0]:.0f}")
        return figure
    for (name, values), colour in zip(lines.items(), COLOURS, strict=False):
        axes.plot(epochs, values, color=colour, marker=".", label=name, linewidth=1.6)
    axes.set_title(title)
    epoch_axis(figure)
    return figure


def bars(axes: "Axes", values: Mapping[str, float]) -> None:
    """Draw one horizontal bar for each of ``values``, with its number behind it."""
    shown = [value if math.isfinite(value) else 0.0 for value in values.values()]
    drawn = axes.barh(range(len(shown)), shown, height=0.6, color=[COLOURS[i % 7] for i in range(len(shown))])
    axes.bar_label(drawn, [f"{value:.3g}" for value in values.values()], padding=4, fontsize=8.5)
    axes.set_yticks(range(len(shown)), list(values))
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(0, 1.2 * max([*shown, 0]) or 1)
    axes.grid(True, axis="x")


def epoch_axis(figure: "Figure") -> None:
    """Give the curves of ``figure`` an axis of epochs, and a legend below."""
    (axes,) = figure.axes
    axes.set_xlabel("epoch")
    stretch(axes)
    whole_numbers(axes)
    axes.grid(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)


def stretch(axes: "Axes") -> None:
    """Make the scale logarithmic if the values allow it and span enough; mark it with plain numbers."""
    values = np.concatenate([line.get_ydata() for line in axes.get_lines()] or [[]])
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > 3 * values.min():
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def whole_numbers(axes: "Axes") -> None:
    """Mark the horizontal axis with whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def steps(run: Record) -> "dict[str, Figure]":
    """Draw learning rate and loss of the batches by step; nothing if the journal has fewer than two steps or epochs."""
    by_step = len(run.steps) > len(run.epochs)
    entries = run.steps if by_step else run.epochs
    if len(entries) < 2:
        return {}
    figures = {name: new_figure(2.8, HALF) for name in ("learning-rate", "batch-loss")}
    left, right = (figure.subplots() for figure in figures.values())
    places = numbers(entries, "steps" if by_step else "step")
    style: dict[str, Any] = {"marker": "." if len(entries) < 60 else ""}
    left.plot(places, numbers(entries, "lr"), color=COLOURS[0], linewidth=1.6, **style)
    left.set_title("Learning rate")
    losses = numbers(entries, "loss") if by_step else numbers(entries, "running", "loss")
    right.plot(places, losses, color=COLOURS[1], linewidth=1, **style)
    right.set_title("Loss of single batches" if by_step else "Loss while learning, by epoch")
    stretch(right)
    for axes in (left, right):
        axes.set_xlabel("step of the run")
        axes.grid(True)
    left.set_ylim(bottom=0)
    return figures


def speed(run: Record) -> "dict[str, Figure]":
    """Draw images per second and the parts of each epoch's time; nothing if no epoch is complete."""
    if not run.epochs:
        return {}
    epochs = np.array([epoch + 1 for epoch in numbers(run.epochs, "epoch")])
    training, evaluation, share = (
        np.nan_to_num(numbers(run.epochs, key)) for key in ("seconds", "evaluation_seconds", "exchange_share")
    )
    parts = {
        "gradients and updates": training * (1 - share),
        "exchange between ranks": training * share,
        "evaluation": evaluation,
    }
    time = new_figure(1.9 if len(epochs) == 1 else 2.9, HALF)
    right = time.subplots()
    if len(epochs) == 1:
        bars(right, {name: float(seconds[0]) for name, seconds in parts.items()})
        right.set_title(f"Seconds of epoch {epochs[0]:.0f}")
        return {"time": time}
    bottom = np.zeros(len(epochs))
    for (name, seconds), colour in zip(parts.items(), COLOURS, strict=False):
        right.bar(epochs, seconds, bottom=bottom, width=0.8, color=colour, label=name)
        bottom += seconds
    right.set_title("Seconds of an epoch")
    figure = new_figure(2.9, HALF)
    left = figure.subplots()
    speeds = numbers(run.epochs, "images_per_second")
    left.plot(epochs, speeds, color=COLOURS[0], marker=".", linewidth=1.6)
    left.set_title("Training images per second")
    fastest = max(filter(math.isfinite, speeds), default=0)
    left.set_ylim(0, 1.1 * fastest or 1)
    left.yaxis.set_major_formatter("{x:,.0f}")
    for axes in (left, right):
        axes.grid(True, axis="y")
        axes.set_xlabel("epoch")
        axes.set_xlim(0.4, max(epochs) + 0.6)
        whole_numbers(axes)
    time.legend(*right.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    return {"speed": figure, "time": time}
