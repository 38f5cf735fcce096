"""The ranks in a report: where their time went, and one step of the timeline, for readers without Perfetto."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distlenet import bounded
from distlenet.report.figure import COLOURS, LINE, new_figure, plain_text
from distlenet.report.page import Book
from distlenet.runs.record import number
from distlenet.runs.timeline import NAME, is_timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEP = re.compile(r"step \d+")
LEAST = 20  # steps before the one that is shown, if there are as many: the first ones are slow
MOST_RANKS = 64  # that are shown
FACTS = ("rank", "host", "cores")  # of summary.json
PARTS = ("load", "compute", "wait", "exchange", "other", "off_core")
KINDS = {  # a span's kind by its name, and its colour; later ones are drawn over earlier ones
    "load": (re.compile("load"), COLOURS[4]),
    "augment": (re.compile("augment"), COLOURS[3]),
    "forward": (re.compile(".* forward"), COLOURS[0]),
    "backward": (re.compile(".* (backward|curvature)"), COLOURS[2]),
    "exchange: send, add": (re.compile("exchange"), COLOURS[5]),
    "exchange: wait": (re.compile("wait"), COLOURS[1]),
    "update": (re.compile("update"), COLOURS[6]),
}


def add_ranks(book: Book, summary: Mapping[str, Any]) -> None:
    """Add a table of the ranks: where the time of each went, and why others waited for it; see runs/slow_ranks.py."""
    section, times, slow = book.section("Ranks"), summary.get("rank_times"), summary.get("slow_ranks")
    for entry in slow if isinstance(slow, list) else ():
        if isinstance(entry, dict):
            lost, share = (number(entry, key) or 0 for key in ("lost", "lost_share"))
            section.note(f"Others waited {lost:.1f} s ({share:.0%}) for rank {entry.get('rank')}: {entry.get('why')}.")
    rows = [entry for entry in times if isinstance(entry, dict)] if isinstance(times, list) else []
    parts = [[number(entry, part) or 0.0 for part in PARTS] for entry in rows[:MOST_RANKS]]
    cells = [
        (*(str(entry.get(fact, "?")) for fact in FACTS), *(f"{part:.2f}" for part in own), entry.get("cause") or "-")
        for entry, own in zip(rows, parts, strict=False)
    ]
    section.table(cells, [*FACTS, *(f"{part.replace('_', ' ')} s" for part in PARTS), "slow because of"])
    if cells:
        section.text(
            "Wait: in the exchange, longer than the rank that waited least. Other: mostly the update. "
            "Off core: of all these, the time in which something else had its core."
        )


def add_timeline(book: Book, run: Path) -> None:
    """Add one step of the timeline in the run directory ``run``, if it has one."""
    section = book.section("Timeline")
    try:
        step = read_step(run)
    except (OSError, ValueError) as error:
        section.note(f"There is no timeline: {error}.")
        return
    if step:
        caption = f"A typical step, {step.name}, on every rank. Perfetto (ui.perfetto.dev) shows all of {NAME}."
        book.figure(section, "timeline", draw_step(step), caption)


@dataclass(frozen=True)
class Span:
    """Something that a rank did; times in microseconds."""

    process: int
    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Step:
    """A step of all ranks."""

    name: str  # "step 123"
    ranks: dict[int, str]  # number of the process -> "rank 0 on host"
    spans: list[Span]  # that overlap the step


def read_step(run: Path) -> Step | None:
    """Return the step of median length of the run's timeline, None if there is no timeline.

    Raises ValueError if it is damaged, OSError if it cannot be read.
    """
    path = run / NAME
    if not is_timeline(path):
        return None
    ranks, spans = dict[int, str](), list[Span]()
    try:
        for line in bounded.lines(path):
            if line is None or not line.startswith('{"name":'):
                continue
            event = json.loads(line.rstrip(","))
            if event["ph"] == "X":
                start = float(event["ts"])
                spans.append(Span(int(event["pid"]), str(event["name"]), start, start + float(event["dur"])))
            elif event["name"] == "process_name":
                ranks[int(event["pid"])] = str(event["args"]["name"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged") from error
    steps = [span for span in spans if STEP.fullmatch(span.name) and span.process == min(ranks, default=0)]
    if not steps:
        return None
    usual = sorted(steps[min(LEAST, len(steps) // 2) :], key=lambda span: span.end - span.start)
    name = usual[len(usual) // 2].name
    same = [span for span in spans if span.name == name]
    first, last = min(span.start for span in same), max(span.end for span in same)
    shown = dict(sorted(ranks.items())[:MOST_RANKS])
    inside = [span for span in spans if span.process in shown and span.end > first and span.start < last]
    return Step(name, shown, [Span(s.process, s.name, s.start - first, s.end - first) for s in inside])


def draw_step(step: Step) -> "Figure":
    """Draw ``step``: a row for each rank, in milliseconds from its start on the first rank."""
    figure = new_figure(1.3 + 0.36 * len(step.ranks))
    axes, rows = figure.subplots(), {process: row for row, process in enumerate(step.ranks)}
    whole = [span for span in step.spans if span.name == step.name]
    end = max(span.end for span in whole)
    parts = {"other": (re.compile(re.escape(step.name)), LINE)} | KINDS
    for kind, (pattern, colour) in parts.items():
        found = [span for span in step.spans if pattern.fullmatch(span.name) and span.process in rows]
        lefts = [max(span.start, 0) / 1e3 for span in found]
        widths = [min(span.end, end) / 1e3 - left for span, left in zip(found, lefts, strict=True)]
        axes.barh([rows[span.process] for span in found], widths, 0.7, lefts, color=colour, label=kind)
    axes.set_yticks(range(len(rows)), [plain_text(name) for name in step.ranks.values()])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, end / 1e3)
    axes.set_xlabel("milliseconds")
    axes.set_title(f"{step.name[0].upper()}{step.name[1:]} of all ranks")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=4)
    return figure
