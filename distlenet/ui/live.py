"""A run in a terminal: one row per complete epoch, then bars, figures and a legend."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from distlenet.streams import SafeStream, clean
from distlenet.training.events import (
    CheckpointSaved,
    EpochDone,
    Event,
    Notice,
    RunFinished,
    RunStarted,
    Score,
)
from distlenet.ui.console import Bars
from distlenet.ui.progress import DISPLAY_LOST, Display, Progress
from distlenet.ui.results import Ending
from distlenet.ui.text import GAP, LEGEND, RESUME, Hints, duration, flow, milliseconds, number, percent

LEAST_BAR = 8  # a bar of fewer cells is not worth drawing
SPARE_ROWS = 3  # rows of the window that the legend leaves free: the table's head and last row, and the cursor
CELL = 7  # least width of a column in the table of epochs
WIDE = {"lr": 9, "images/s": 9}
# columns are dropped in this order if the window is narrow
NARROW = ("exchange", "lr", "seconds", "ms/step", "images/s", "test", "train", "train loss", "valid loss")


class LiveDisplay(Display):
    """Draws bars, figures and the table of epochs with rich."""

    def __init__(
        self,
        stream: TextIO,
        clock: Callable[[], float] = time.perf_counter,
        again: str = RESUME,
        hints: Hints = (),
    ) -> None:
        self._bars = Bars(SafeStream(stream, DISPLAY_LOST), self._frame, clock)
        self._progress, self._hints = Progress(clock, again), hints
        self._saved = ""
        self._columns: list[str] = []
        self._rows = 0  # printed since the table's last head

    def on(self, event: Event) -> None:
        """Show ``event``, and redraw if it is time."""
        self._progress.add(event)
        match event:
            case EpochDone():
                self._epoch(event)
            case Notice():
                self._bars.print(notice(event))
            case CheckpointSaved():
                self._saved = f"saved {clean(event.path.name)} {time.strftime('%H:%M')}"
            case RunStarted():
                self._start(event)
            case RunFinished():
                self._finish(event)
        self._bars.draw()

    def close(self) -> None:
        """Stop drawing. The last bars stay, and text printed later starts below them."""
        self._bars.stop()

    def _start(self, event: RunStarted) -> None:
        self._bars.print(Text(clean(event.title), "bold"))
        facts = [f"{clean(key)} {clean(value)}" for key, value in event.facts.items()]
        for line in flow(facts, self._bars.console.width - 1):
            self._bars.print(Text(line, "dim"))
        self._bars.start()

    def _epoch(self, event: EpochDone) -> None:
        cells = epoch_cells(event, self._progress)
        self._bars.fit()
        columns = fitting(cells, self._bars.console.width - 1)
        scrolled = self._rows >= max(5, self._bars.console.height - len(self._bars.drawn) - 1)
        if columns != self._columns or scrolled:  # the first row, a new window width, or the head has scrolled away
            self._columns, self._rows = columns, 0
            self._bars.print(epoch_line({name: name for name in columns}, columns, "dim"))
        self._rows += 1
        self._bars.print(epoch_line(cells, columns))

    def _finish(self, event: RunFinished) -> None:
        self._bars.stop(keep=False)  # the result takes the place of the bars
        self._bars.print(Ending(event.summary, self._hints), crop=False)
        if text := self._progress.parting(event.summary):
            self._bars.print(Text(clean(text), "bold"), soft_wrap=True)  # keeps paths on one line

    def _frame(self, console: Console) -> list[Text]:
        return frame(self._progress, self._saved, console, console.height)


def notice(event: Notice) -> Text:
    """Return the line of ``event`` for a terminal."""
    return Text(f"{clean(event.level)}: {clean(event.text)}", "dim" if event.level == "info" else "bold magenta")


def scores(train: Score | None, valid: Score | None) -> dict[str, str]:
    """Return the losses, then the accuracies, of the scores that are not None: name -> figure."""
    known = {name: score for name, score in (("train", train), ("valid", valid)) if score is not None}
    losses = {f"{name} loss": number(score.loss) for name, score in known.items()}
    return losses | {name: percent(score.accuracy) for name, score in known.items()}


def epoch_cells(event: EpochDone, progress: Progress) -> dict[str, str]:
    """Return the row of one epoch, column name -> text, without columns that have no value."""
    cells = {"epoch": f"{event.epoch + 1}"} | scores(event.train, event.validation)
    if progress.is_best(event):
        cells["valid"] += "*"
    if event.test is not None:
        cells["test"] = percent(event.test.accuracy)
    cells |= {
        "lr": f"{event.lr:.4g}",
        "images/s": f"{event.images_per_second:,.0f}",
        "ms/step": milliseconds(progress.mean_step_seconds(event)),
        "seconds": f"{event.seconds:.1f}",
    }
    if event.exchange_share:  # 0 in a single process
        cells["exchange"] = percent(event.exchange_share, 1)
    return cells


def cell(name: str) -> int:
    """Return the width of the column ``name``, including the space or star after it."""
    return max(CELL, len(name), WIDE.get(name, 0)) + 1


def fitting(
    names: Iterable[str], width: int, leaving: Sequence[str] = NARROW, cells: Callable[[str], int] = cell
) -> list[str]:
    """Return the columns of ``names`` that fit into ``width`` cells; each is ``cells(name)`` wide.

    Columns are dropped in the order of ``leaving``.
    """
    kept = list(names)
    for name in leaving:
        if sum(map(cells, kept)) <= width:
            break
        if name in kept:
            kept.remove(name)
    return kept


def epoch_line(cells: Mapping[str, str], columns: Sequence[str], style: str = "") -> Text:
    """Return one line of the table of epochs: right-aligned cells, with a star after a best accuracy."""
    line = Text(style=style)
    for name in columns:
        text, star = cells[name].removesuffix("*"), cells[name].endswith("*")
        line.append(text.rjust(cell(name) - 1), "bold green" if star else "")
        line.append("*" if star else " ", "bold green" if star else "")
    return line


def frame(progress: Progress, saved: str, console: Console, rows: int = 24) -> list[Text]:
    """Return the lines below the table, to fit the window: two bars, the figures and the legend."""
    width = console.width - 1
    labels = (f"epoch {{}}/{progress.epochs}", f"step {{}}/{progress.steps_per_epoch}")
    left = max(len(labels[0].format(progress.epochs)), len(labels[1].format(progress.steps_per_epoch)))
    first, second, now, exchange = notes(progress, width - left - len("  100%"))
    bars = [
        (labels[0].format(min(progress.epoch + 1, progress.epochs)), progress.fraction, first, "green"),
        (labels[1].format(progress.step), progress.step / max(1, progress.steps_per_epoch), second, "cyan"),
    ]
    right, ascii_only = max(len(first), len(second)), console.options.ascii_only
    lines = [bar(*values, left=left, right=right, width=width, ascii_only=ascii_only) for values in bars]
    past = flow(filter(None, [*last_epoch(progress), saved]), width)
    for extra in (exchange, []):  # a low window has no room to explain the exchange figure, so it is dropped
        legend = flow([f"{word} = {LEGEND[word]}" for word in LEGEND if extra or word != "exchange"], width)
        room = rows - SPARE_ROWS - len(lines) - len(flow(now + extra, width)) - len(past)
        if len(legend) <= room:
            break
    lines += [Text(line) for line in flow(now + extra, width)] + [Text(line, "dim") for line in past]
    return lines + [Text(line, "dim italic") for line in legend[: max(0, room)]]


def notes(progress: Progress, width: int) -> tuple[str, str, list[str], list[str]]:
    """Return the two notes to the right of the bars, the figures below them, and the exchange figure (or none).

    ``width`` cells are available for bars and notes.
    """
    now, speeds, times = [], [], [f"elapsed {duration(progress.elapsed)}"]
    if progress.step_seconds is not None:
        now = [f"running loss {number(progress.running_loss)}", f"running {percent(progress.running_accuracy)}"]
        now.append(f"lr {progress.lr:.4g}")
        times.append(f"{duration(progress.seconds_left)} left")
        speeds = [f"{milliseconds(progress.step_seconds)} ms/step", f"{progress.images_per_second:,.0f} images/s"]
    exchange = [f"exchange {percent(progress.exchange_share, 1)}"] if progress.exchange_share else []
    for count in (2, 1):
        first, second = GAP.join(times[-count:]), GAP.join(speeds[-count:])
        if width - max(len(first), len(second), 16 * count) > LEAST_BAR:
            rest = [*times[:-count], *speeds[:-count]]
            return first.rjust(16 * count - 1), second.rjust(16 * count - 1), now + rest, exchange
    return "", "", times + speeds + now, exchange


def last_epoch(progress: Progress) -> list[str]:
    """Return the figures of the last complete epoch and of the best one."""
    found = [f"{word} {figure}" for word, figure in scores(progress.train, progress.valid).items()]
    if progress.best is not None:
        found.append(f"* best {percent(progress.best)} (epoch {progress.best_epoch + 1})")
    return found


def bar(
    label: str, share: float, note: str, style: str, *, left: int, right: int, width: int, ascii_only: bool
) -> Text:
    """Return a line with ``label``, a bar filled to ``share`` (0 to 1), the share in percent, and ``note``."""
    share = min(max(share, 0.0), 1.0)
    label, note = label[:left].ljust(left), f" {share:4.0%}" + (f" {note.rjust(right)}" if right else "")
    room = width - len(label) - 1 - len(note)
    if room < LEAST_BAR // 2:  # too narrow for a bar: only the share
        return Text(f"{label}{note}"[:width])
    full, empty = ("=", "-") if ascii_only else ("━", "─")
    filled = int(share * room)
    return Text.assemble((label, "bold"), " ", (full * filled, style), (empty * (room - filled), "dim"), note)
