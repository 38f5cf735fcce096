"""The tables of the terminal: epochs of a run, and an evaluation."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from distlenet.streams import clean
from distlenet.training.events import EpochDone
from distlenet.training.metrics import accuracy, per_class
from distlenet.ui.display import milliseconds, number, percent, step_time

CELL = 7  # least width of a column of the table of epochs
WIDE = {"lr": 9, "images/s": 9}
NARROW = ("exchange", "lr", "seconds", "ms/step", "images/s", "test", "train", "train loss", "valid loss")  # leave so
MATRIX_CLASSES = 20  # a matrix of more classes is not readable, however wide the window
CONFUSIONS = 15  # listed in place of such a matrix


def epoch_cells(event: EpochDone, steps_per_epoch: int, best: bool = False) -> dict[str, str]:
    """Return the row of one epoch: column name -> text; columns without a value are left out."""
    cells = {"epoch": f"{event.epoch + 1}", "train loss": number(event.train.loss)}
    if event.validation is not None:
        cells["valid loss"] = number(event.validation.loss)
    cells["train"] = percent(event.train.accuracy)
    if event.validation is not None:
        cells["valid"] = percent(event.validation.accuracy) + ("*" if best else "")
    if event.test is not None:
        cells["test"] = percent(event.test.accuracy)
    seconds = step_time(event, steps_per_epoch)
    cells |= {
        "lr": f"{event.lr:.4g}",
        "images/s": f"{event.images_per_second:,.0f}",
        "ms/step": "-" if seconds is None else milliseconds(seconds),
        "seconds": f"{event.seconds:.1f}",
    }
    if event.exchange_share:  # one process has none
        cells["exchange"] = percent(event.exchange_share, 1)
    return cells


def fitting(names: Iterable[str], width: int) -> list[str]:
    """Return those of the columns ``names`` that have room in ``width`` cells."""
    kept = list(names)
    for name in NARROW:
        if sum(map(cell, kept)) <= width:
            break
        if name in kept:
            kept.remove(name)
    return kept


def cell(name: str) -> int:
    """Return the width of the column ``name``, with the space or star behind it."""
    return max(CELL, len(name), WIDE.get(name, 0)) + 1


def epoch_line(cells: Mapping[str, str], columns: Sequence[str], style: str = "") -> Text:
    """Return one line of the table of epochs: right-aligned cells; a best epoch's star stands behind."""
    line = Text(style=style)
    for name in columns:
        text, star = cells[name].removesuffix("*"), cells[name].endswith("*")
        line.append(text.rjust(cell(name) - 1), "bold green" if star else "")
        line.append("*" if star else " ", "bold green" if star else "")
    return line


def evaluation_table(confusion: np.ndarray, loss: float, class_names: Sequence[str]) -> Group:
    """Return an evaluation as tables that fit the window.

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
    return Group(head, "", class_table(confusion, names), "", Confusion(confusion, names))


def class_table(confusion: np.ndarray, names: Sequence[str]) -> Table:
    """Return precision, recall, F1 and support of each class; ``confusion`` as in evaluation_table."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("class", overflow="ellipsis", max_width=24)
    figures = per_class(confusion)
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    for i, label in enumerate(names):
        cells = [percent(v[i]) if key != "support" else f"{v[i]:,.0f}" for key, v in figures.items()]
        table.add_row(Text(label), *cells)
    return table


class Confusion:
    """The confusion matrix if it fits the window, else the most frequent confusions."""

    def __init__(self, confusion: np.ndarray, names: Sequence[str]) -> None:
        self.confusion, self.names = confusion, names

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        cell = max(3, len(str(int(self.confusion.max(initial=0)))))
        left = max((len(name) for name in self.names), default=0) + 4
        classes = len(self.names)
        if classes <= MATRIX_CLASSES and left + classes * (cell + 1) <= options.max_width:
            yield from self._matrix(cell, left)
        else:
            yield from self._frequent()

    def _matrix(self, cell: int, left: int) -> Iterable[Text]:
        yield Text("true \\ predicted", "dim")
        heads = labels = self.names
        if max(map(len, heads)) > cell:  # numbers over the columns, explained at the rows
            heads = [str(i) for i in range(len(heads))]
            labels = [f"{i:2} {name}" for i, name in enumerate(self.names)]
        yield Text(" " * left + "".join(head.rjust(cell + 1) for head in heads), "dim")
        for i, row in enumerate(self.confusion):
            line = Text(labels[i].ljust(left))
            for j, count in enumerate(row.tolist()):
                style = "green" if i == j else "dim" if count == 0 else "red"
                line.append((str(count) if count else ".").rjust(cell + 1), style)
            yield line

    def _frequent(self) -> Iterable[Table | Text]:
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("true", overflow="ellipsis", no_wrap=True)
        table.add_column("predicted", overflow="ellipsis", no_wrap=True)
        table.add_column("images", justify="right", no_wrap=True)
        for true, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True):
            if wrong[true, predicted]:
                count = f"{wrong[true, predicted]:,}"
                table.add_row(Text(self.names[true]), Text(self.names[predicted]), count)
        yield Text("most frequent confusions", "dim")
        yield table
