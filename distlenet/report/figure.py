"""What all figures share: matplotlib without a window, colours that everybody can tell apart, PNG."""

import io
import warnings
from typing import TYPE_CHECKING

from distlenet.errors import UsageError, missing_extra
from distlenet.training.ours import SOFTWARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.0  # inches of a figure as wide as the page
HALF = 4.5  # of one that stands beside another, or, on a narrow screen, above it
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555")  # Okabe and Ito
DPI = 120


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
