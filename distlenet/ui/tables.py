"""Tables for the terminal: one layout function, and the tables of a network's outline, a journal, an evaluation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from distlenet.data.corruptions import CORRUPTIONS
from distlenet.nn.inspection import Row
from distlenet.reader import confusions, per_class
from distlenet.scores import Rows, Scores
from distlenet.streams import clean
from distlenet.training.evaluation import accuracy
from distlenet.ui.text import percent

CALIBRATION = ("confidence", "answers", "mean", "right")
MATRIX_CLASSES = 20  # a larger confusion matrix is not readable in any window


def table(
    head: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1, gap: int = 2, foot: Sequence[str] = ()
) -> Table:
    """Return a table of ``rows``.

    The first ``words`` columns hold words, which wrap in a narrow window. The others hold figures, which never wrap and
    are right-aligned. ``gap`` is the number of cells between two columns; ``foot`` is a last row, in bold.
    """
    made = Table(box=None, padding=(0, gap, 0, 0), header_style="dim", show_footer=bool(foot), footer_style="bold")
    for place, name in enumerate(head):
        is_figure = place >= words
        made.add_column(
            name,
            footer=foot[place] if foot else "",
            justify="right" if is_figure else "left",
            no_wrap=is_figure,
            overflow="ellipsis" if is_figure else "fold",
            vertical="bottom" if is_figure else "top",
        )
    for row in rows:
        made.add_row(*(Text(clean(cell)) for cell in row))
    return made


def outline_table(rows: Sequence[Row], input_shape: Sequence[int]) -> Table:
    """Return a table of the outline ``rows`` of a network for samples of ``input_shape``, with the total."""
    layers = [("input", "", in_words(input_shape), "")]
    layers += [(row.name, row.kind, in_words(row.shape), f"{row.parameters:,}") for row in rows]
    foot = ("total", "", "", f"{sum(row.parameters for row in rows):,}")
    return table(("layer", "kind", "output", "parameters"), layers, words=3, foot=foot)


def in_words(shape: Sequence[int]) -> str:
    """Return the shape of one sample as "6 x 28 x 28"."""
    return " x ".join(map(str, shape))


def journal_table(names: Sequence[str], rows: Sequence[Sequence[float | None]]) -> Table:
    """Return a table of ``rows`` with the columns of ``names`` that hold any figure."""
    kept = [place for place in range(len(names)) if any(row[place] is not None for row in rows)]
    head = [names[place].replace("validation", "valid").replace("_", "\n") for place in kept]
    return table(head, ([_figure(row[place]) for place in kept] for row in rows), words=0)


def stretch_table(stretches: Iterable[Mapping[str, Any]]) -> Table:
    """Return a table of the stretches in a certificate of a verification."""
    head = ("stretch", "checkpoints", "verdict")
    rows = [
        (row["stretch"], ", ".join(row["files"]) or "-", "; ".join([row["verdict"], *row["why"][:2]]))
        for row in stretches
    ]
    return table(head, rows, words=3)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def evaluation_table(confusion: np.ndarray, loss: float, class_names: Sequence[str]) -> Group:
    """Return tables of an evaluation that fit the window.

    Arguments:
        confusion: int64 (classes, classes), [true, predicted].
        loss: mean over all images.
        class_names: one name for each class.
    """
    names = [clean(name) for name in class_names]
    right, total = int(np.trace(confusion)), int(confusion.sum())
    share = accuracy(confusion)
    head = Text.assemble(
        ("accuracy ", "dim"),
        (percent(share), "bold"),
        f"  ({right:,} of {total:,})",
        ("   error ", "dim"),
        percent(1 - share),
        ("   loss ", "dim"),
        f"{loss:.4f}",
    )
    figures = per_class(confusion)
    columns = [[f"{v:,.0f}" if key == "support" else percent(v) for v in values] for key, values in figures.items()]
    classes = table(("class", *figures), zip(names, *columns, strict=True), gap=1)
    return Group(head, "", classes, "", Confusion(confusion, names))


def corruption_table(accuracies: Mapping[str, float]) -> Table:
    """Return a table of the accuracy (0 to 1) under each kind of corruption, with the mean."""
    mean = sum(accuracies.values()) / len(accuracies)
    rows = [
        (kind, CORRUPTIONS[kind].severity, percent(value), percent(1 - value)) for kind, value in accuracies.items()
    ]
    head, foot = ("corruption", "severity", "accuracy", "error"), ("mean", "", percent(mean), percent(1 - mean))
    return table(head, rows, words=2, foot=foot)


def scores_table(scores: Scores) -> Group:
    """Return tables of how well labelled pictures were read."""
    total, answered, right = len(scores.true), int(scores.answered.sum()), int(scores.right.sum())
    rows = [
        ("right", f"{right:,}", percent(right / total)),
        ("wrong", f"{answered - right:,}", percent((answered - right) / total)),
        ("wrong above 90 %", f"{scores.confidently_wrong:,}", percent(scores.confidently_wrong / total)),
        ("no answer", f"{total - answered:,}", percent((total - answered) / total)),
    ]
    head = table(("", "digits" if scores.rows else "pictures", "share"), rows, foot=("all", f"{total:,}", ""))
    names = [clean(name) for name in scores.class_names]
    confusion = Confusion(scores.confusion, names)
    error = Text(f"calibration error {percent(scores.calibration_error)}")
    whole = Group(rows_table(scores.rows), "") if scores.rows else Group()
    return Group(whole, head, "", confusion, "", table(CALIBRATION, calibration_rows(scores)), error)


def rows_table(rows: Rows) -> Table:
    """Return a table of how well whole pictures of several digits were read."""
    facts = [
        ("pictures read wholly right", f"{rows.right:,} of {rows.count:,}", percent(rows.right / rows.count)),
        ("digits, by edit distance", f"{rows.edits:,} edits of {rows.digits:,}", percent(rows.digit_accuracy)),
    ]
    return table(("", "", "accuracy"), facts)


def calibration_rows(scores: Scores) -> list[tuple[str, str, str, str]]:
    """Return rows of CALIBRATION: the confidences that occur, from the lowest."""
    parts = [(place, part) for place, part in enumerate(scores.bins) if part.count]
    width = 100 // len(scores.bins)
    return [
        (
            f"{width * place} - {width * (place + 1)} %",
            f"{part.count:,}",
            percent(part.confidence),
            percent(part.accuracy),
        )
        for place, part in parts
    ]


class Confusion:
    """The confusion matrix if it fits the window, otherwise the most frequent confusions."""

    def __init__(self, confusion: np.ndarray, names: Sequence[str]) -> None:
        self.confusion, self.names = confusion, names

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        cell = max(3, len(str(int(self.confusion.max(initial=0)))))
        left = max((len(name) for name in self.names), default=0) + 4
        classes = len(self.names)
        if classes <= MATRIX_CLASSES and left + classes * (cell + 1) <= options.max_width:
            yield from self._matrix(cell, left)
        else:
            yield Text("most frequent confusions", "dim")
            yield table(("true", "predicted", "images"), confusions(self.confusion, self.names), words=2)

    def _matrix(self, cell: int, left: int) -> Iterable[Text]:
        yield Text("true \\ predicted", "dim")
        heads = labels = self.names
        if max(map(len, heads)) > cell:  # numbers as column heads; the rows have the names
            heads = [str(i) for i in range(len(heads))]
            labels = [f"{i:2} {name}" for i, name in enumerate(self.names)]
        yield Text(" " * left + "".join(head.rjust(cell + 1) for head in heads), "dim")
        for i, row in enumerate(self.confusion):
            line = Text(labels[i].ljust(left))
            for j, count in enumerate(row.tolist()):
                style = "green" if i == j else "dim" if count == 0 else "red"
                line.append((str(count) if count else ".").rjust(cell + 1), style)
            yield line
