"""The page of a scaling study: table, and figures of speed-up and efficiency with ideal, fitted law and cost model."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distlenet.report.figure import COLOURS, ERROR, HALF, QUIET, SURFACE, WIDTH, new_figure, style
from distlenet.report.page import Book, Written
from distlenet.runs.ours import SOFTWARE
from distlenet.series.table import Rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = {"speedup": "Speed-up", "efficiency": "Efficiency, %"}
PNG = "scaling.png"  # both panels, for a document


def write_study_report(out: Path, results: dict[str, Any], rows: Rows, remarks: list[str]) -> Written:
    """Write the page, the figures as SVG, and one PNG of both to the directory ``out``.

    ``results``, ``rows`` and ``remarks`` are those of ``bench/study_results.py``. Raises RunDirectoryError; UsageError
    without matplotlib or Jinja2.
    """
    book = Book()
    with style():
        section = book.section("Results")
        section.table(rows[1:], rows[0])
        for remark in remarks:
            section.text(f"{remark}.")
        if any(row["images_per_second"] for row in results["rows"]):
            section = book.section("Scaling")
            caption = (
                "Points are medians over the rounds, lines from the least to the most; hollow: more ranks than cores. "
                "The prediction divides the step on the fewest ranks as leaves are, and adds the cost model's exchange."
            )
            book.figures(section, {name: panels(results, name) for name in PANELS}, caption)
            book.files[PNG] = as_png(panels(results, *PANELS))
    return book.write(out, "Scaling study", results["title"], [])


def panels(results: dict[str, Any], *names: str) -> "Figure":
    """Draw the panels of these ``names`` in a row, with a legend below."""
    figure = new_figure(3.7, HALF if len(names) == 1 else WIDTH)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        panel(axes, results, name)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2 if len(names) == 1 else 4)
    return figure


def panel(axes: "Axes", results: dict[str, Any], name: str) -> None:
    """Draw speed-up or efficiency over the number of ranks."""
    rows = [row for row in results["rows"] if row["images_per_second"]]
    ranks = [row["ranks"] for row in rows]
    efficiency = name == "efficiency"

    def shown(speedup: float, count: int) -> float:
        return 100 * speedup / count if efficiency else speedup

    law = results["fit"]
    lines = {"ideal": (ranks, "-", QUIET), "cost model's prediction": ([row["predicted"] for row in rows], ":", ERROR)}
    if law:
        lines[f"{law['law']}'s law, {100 * law['serial_share']:.1f} % serial"] = (
            [row["fitted"] for row in rows if not row["oversubscribed"]],
            "--",
            COLOURS[1],
        )
    for label, (values, dashes, colour) in lines.items():
        drawn = [shown(value, count) for value, count in zip(values, ranks, strict=False)]
        axes.plot(ranks[: len(drawn)], drawn, dashes, color=colour, linewidth=1.3, label=label)
    for row in rows:
        scale = row["speedup"] / row["images_per_second"]
        low, middle, high = (shown(scale * row[key], row["ranks"]) for key in ("least", "images_per_second", "most"))
        axes.errorbar(
            row["ranks"],
            middle,
            [[middle - low], [high - middle]],
            fmt="o",
            markersize=6,
            capsize=3,
            color=COLOURS[0],
            markerfacecolor=SURFACE if row["oversubscribed"] else COLOURS[0],
            label="measured" if row is rows[0] else None,
        )
    axes.set_title(PANELS[name])
    axes.set_xlabel("ranks")
    axes.set_xscale("log", base=2)
    axes.set_xticks(ranks, [str(count) for count in ranks], minor=False)
    axes.minorticks_off()
    if efficiency:
        axes.set_ylim(0, None)
    else:
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(True)


def as_png(figure: "Figure") -> bytes:
    """Return ``figure`` as a PNG file, recognised as this program's."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=160, metadata={"Software": SOFTWARE})
    return stream.getvalue()
