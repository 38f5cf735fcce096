"""The tables of the terminal: epochs of a run, the end of a run, and an evaluation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from distlenet.streams import clean
from distlenet.training.events import EpochDone
from distlenet.training.metrics import accuracy, per_class
from distlenet.ui.display import duration, percent

CELL = 9  # width of a column of the table of epochs
NARROW = ("seconds", "exchange", "lr", "images/s", "train", "loss", "test")  # leave in this order
MATRIX_CLASSES = 20  # a matrix of more classes is not readable, however wide the window
CONFUSIONS = 15  # listed in place of such a matrix


def epoch_cells(event: EpochDone, best: bool = False) -> dict[str, str]:
    """Return the row of one epoch: column name -> text; columns without a value are left out."""
    cells = {
        "epoch": f"{event.epoch + 1}",
        "lr": f"{event.lr:.4g}",
        "loss": f"{event.train.loss:.4f}",
        "train": percent(event.train.accuracy),
    }
    if event.validation is not None:
        cells["valid"] = percent(event.validation.accuracy) + ("*" if best else "")
    if event.test is not None:
        cells["test"] = percent(event.test.accuracy)
    return cells | {
        "images/s": f"{event.images_per_second:,.0f}",
        "seconds": f"{event.seconds:.1f}",
        "exchange": percent(event.exchange_share, 1),
    }


def fitting(names: Iterable[str], width: int) -> list[str]:
    """Return those of the columns ``names`` that have room in ``width`` cells."""
    kept = list(names)
    for name in NARROW:
        if len(kept) * CELL <= width:
            break
        if name in kept:
            kept.remove(name)
    return kept


def epoch_line(cells: Mapping[str, str], columns: Sequence[str], style: str = "") -> Text:
    """Return one line of the table of epochs: right-aligned cells; a best epoch's star stands behind."""
    line = Text(style=style)
    for name in columns:
        text, star = cells[name].removesuffix("*"), cells[name].endswith("*")
        line.append(text.rjust(CELL - 1), "bold green" if star else "")
        line.append("*" if star else " ", "bold green")
    return line


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Return the end of a run from what summary.json holds; keys that are missing make no row."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")

    def row(name: str, key: str, text: str = "{}", scale: float = 1) -> None:
        value = summary.get(key)
        if value is not None:
            table.add_row(name, Text(clean(text.format(value * scale if scale != 1 else value))))

    row("status", "status")
    row("test accuracy", "test_accuracy", "{:.2f}%", 100)
    row("test error", "test_error", "{:.2f}%", 100)
    row("validation accuracy", "val_accuracy", "{:.2f}%", 100)
    row("evaluated", "evaluated")
    for event in summary.get("divergences") or []:
        table.add_row("diverged", Text(clean(f"{event['kind']} in epoch {event['epoch'] + 1}: {event['action']}")))
    row("epochs", "epochs")
    row("steps", "steps", "{:,}")
    row("ranks", "ranks")
    if summary.get("seconds") is not None:
        table.add_row("time", duration(summary["seconds"]))
    row("images/s", "images_per_second", "{:,.0f}")
    for name, path in (summary.get("checkpoints") or {}).items():
        table.add_row(f"checkpoint {clean(name)}", Text(clean(path)))
    row("theta sha256", "theta_sha256", "{:.12}")
    return table


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
                style = "green" if i == j else "dim" if count == 0 else "yellow"
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
