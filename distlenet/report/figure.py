"""What all figures share, matplotlib without a window and its colours, and the curves of a run."""

import io
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from distlenet.errors import UsageError, missing_extra
from distlenet.runs.ours import SOFTWARE
from distlenet.runs.record import Record, numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.0  # inches of a figure as wide as the page
HALF = 4.5  # of one that stands beside another, or, on a narrow screen, above it
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555")  # Okabe and Ito
DPI = 120
CURVES = (
    ("running", "training, while learning"),
    ("train", "training, after the epoch"),
    ("validation", "validation"),
    ("test", "test (watched)"),
)


def new_figure(height: float, width: float = WIDTH) -> "Figure":
    """Return an empty figure of ``width`` x ``height`` inches; raises UsageError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(missing_extra("the report", "matplotlib", "report")) from error
    return Figure(figsize=(width, height), layout="constrained")


def quiet(axes: "Axes", frame: bool = False) -> "Axes":
    """Take the ticks from ``axes`` that show a picture; their frame becomes thin and grey, or goes."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=frame, edgecolor="#cccccc", linewidth=0.6)
    return axes


def plain_text(text: str, length: int = 24) -> str:
    """Return a class or layer name for a figure: one line, not too long, nothing that steers the type-setting."""
    line = "".join(c if c.isprintable() else "?" for c in text)
    line = line if len(line) <= length else line[: length - 1] + "…"
    return line.replace("$", r"\$")  # else the beginning of a formula


def as_png(figure: "Figure") -> bytes:
    """Return ``figure`` as a PNG file."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a script that the font lacks: shown as boxes
        figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": SOFTWARE})
    return stream.getvalue()


def learning(run: Record) -> "dict[str, Figure]":
    """Draw loss and error after each epoch; nothing if no epoch is complete."""
    if not run.epochs:
        return {}
    figures = {name: new_figure(3.6, HALF) for name in ("loss", "error")}
    left, right = (figure.subplots() for figure in figures.values())
    epochs = [epoch + 1 for epoch in numbers(run.epochs, "epoch")]
    for (split, name), colour in zip(CURVES, COLOURS, strict=False):
        losses = numbers(run.epochs, split, "loss")
        errors = [100 * (1 - accuracy) for accuracy in numbers(run.epochs, split, "accuracy")]
        if all(map(math.isnan, losses)):
            continue
        style: dict[str, Any] = {"color": colour, "marker": ".", "label": name, "linewidth": 1.4}
        left.plot(epochs, losses, **style)
        right.plot(epochs, errors, **style)
    left.set_title("loss", fontsize=10)
    right.set_title("error (% of the images; accuracy is 100 % minus it)", fontsize=9)
    by_epoch(figures)
    return figures


def by_epoch(figures: "dict[str, Figure]") -> None:
    """Give the curves of ``figures`` their axes, and a legend below."""
    for figure in figures.values():
        (axes,) = figure.axes
        axes.set_xlabel("epoch")
        stretch(axes)
        whole_numbers(axes)
        axes.grid(True, which="both", alpha=0.25)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)


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
    """Draw learning rate and loss of the batches by step; nothing if the journal has neither steps nor epochs."""
    by_step = len(run.steps) > len(run.epochs)
    entries = run.steps if by_step else run.epochs
    if not entries:
        return {}
    figures = {name: new_figure(2.8, HALF) for name in ("learning-rate", "batch-loss")}
    left, right = (figure.subplots() for figure in figures.values())
    places = numbers(entries, "steps" if by_step else "step")
    marker = "." if len(entries) < 60 else ""
    left.plot(places, numbers(entries, "lr"), color=COLOURS[0], marker=marker, linewidth=1.4)
    left.set_title("learning rate", fontsize=10)
    losses = numbers(entries, "loss") if by_step else numbers(entries, "running", "loss")
    right.plot(places, losses, color=COLOURS[1], marker=marker, linewidth=0.8)
    right.set_title("loss of single batches" if by_step else "loss while learning, by epoch", fontsize=10)
    stretch(right)
    for axes in (left, right):
        axes.set_xlabel("step of the run")
        axes.grid(True, which="both", alpha=0.25)
    left.set_ylim(bottom=0)
    return figures


def speed(run: Record) -> "dict[str, Figure]":
    """Draw images per second and the parts of each epoch's time; nothing if no epoch is complete."""
    if not run.epochs:
        return {}
    figures = {name: new_figure(2.9, HALF) for name in ("speed", "time")}
    left, right = (figure.subplots() for figure in figures.values())
    epochs = np.array([epoch + 1 for epoch in numbers(run.epochs, "epoch")])
    speeds = numbers(run.epochs, "images_per_second")
    left.plot(epochs, speeds, color=COLOURS[0], marker=".", linewidth=1.4)
    left.set_title("training images per second", fontsize=10)
    fastest = max(filter(math.isfinite, speeds), default=0)
    left.set_ylim(0, 1.1 * fastest or 1)
    left.yaxis.set_major_formatter("{x:,.0f}")
    left.grid(True, alpha=0.25)
    training, evaluation, share = (
        np.nan_to_num(numbers(run.epochs, key)) for key in ("seconds", "evaluation_seconds", "exchange_share")
    )
    parts = {
        "gradients and updates": training * (1 - share),
        "exchange between ranks": training * share,
        "evaluation": evaluation,
    }
    bottom = np.zeros(len(epochs))
    for (name, seconds), colour in zip(parts.items(), COLOURS, strict=False):
        right.bar(epochs, seconds, bottom=bottom, width=0.8, color=colour, label=name)
        bottom += seconds
    right.set_title("seconds of an epoch", fontsize=10)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.set_xlim(0.4, max(epochs) + 0.6)
        whole_numbers(axes)
    handles, labels = right.get_legend_handles_labels()
    figures["time"].legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    return figures
