"""Bars in a terminal: the running epoch at the bottom, one row per complete epoch above.

All ranks wait for the root, so a step only adds to the figures; what is on the screen is redrawn a few
times a second, from within ``on``: a thread of its own would take the core from the training.
"""

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from distlenet.streams import SafeStream, clean
from distlenet.training.events import (
    CheckpointSaved,
    EpochDone,
    EvaluationProgress,
    Event,
    Notice,
    RunFinished,
    RunStarted,
    StepDone,
)
from distlenet.ui.console import AboveBars, SafeConsole
from distlenet.ui.display import (
    DISPLAY_LOST,
    LEGEND,
    RESUME,
    Display,
    Progress,
    duration,
    milliseconds,
    number,
    parting,
    percent,
)
from distlenet.ui.ending import Ending, Hints
from distlenet.ui.tables import epoch_cells, epoch_line, fitting
from distlenet.ui.terminal import window

GAP = "   "  # between two figures
LEAST_BAR = 8  # cells of a bar that is worth drawing
SPARE_ROWS = 3  # rows of the window that the legend leaves free: the table's head and last row, and the cursor
WORDS = {"validation": "valid"}  # splits as the table calls them
PERIOD = 0.2  # seconds between two drawings
SPARE = 100  # and at least so many times as long as a drawing took: never more than 1 % of the time


class SteadyConsole(SafeConsole):
    """A console that never hides the cursor.

    A rank that is killed could not show it again, and Open MPI's mpirun drops the last words of its
    ranks after Ctrl-C. Each drawing is one write, so the cursor does not flicker either.
    """

    def show_cursor(self, show: bool = True) -> bool:
        """Do nothing."""
        return False


class LiveDisplay(Display):
    """Draws bars, figures and the table of epochs with rich."""

    def __init__(
        self,
        stream: TextIO,
        clock: Callable[[], float] = time.perf_counter,
        again: str = RESUME,
        hints: Hints = (),
    ) -> None:
        self._stream = SafeStream(stream, DISPLAY_LOST)
        self._again, self._hints = again, hints
        self._console = SteadyConsole(self._stream, force_terminal=True)
        self._clock = clock
        self._due = 0.0
        self._live: Live | None = None  # while bars are on the screen
        self._drawn: list[int] = []  # cells in each line of the bars
        self._progress = Progress(clock)
        self._evaluation: EvaluationProgress | None = None
        self._saved = ""
        self._newest: Path | None = None  # the checkpoint written last
        self._columns: list[str] = []
        self._rows = 0  # of the table since its head
        self._fit()

    def on(self, event: Event) -> None:
        """Take note of ``event`` and redraw if it is time."""
        match event:
            case StepDone():
                self._progress.add_step(event)
                self._evaluation = None
            case EvaluationProgress():
                self._evaluation = event
            case EpochDone():
                self._evaluation = None
                self._epoch(event)
            case Notice():
                style = "dim" if event.level == "info" else "bold magenta"
                self._print(Text(f"{clean(event.level)}: {clean(event.text)}", style))
            case CheckpointSaved():
                self._newest = event.path
                self._saved = f"saved {clean(event.path.name)} {time.strftime('%H:%M')}"
            case RunStarted():
                self._start(event)
            case RunFinished():
                self._finish(event)
        if self._live is not None and self._clock() >= self._due:
            self._draw()

    def close(self) -> None:
        """Stop drawing; the last bars stay, and what is printed next begins below them."""
        if self._live is not None:
            self._fit()
            live, self._live = self._live, None
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            sys.stdout, sys.stderr = self._redirected
            live.stop()

    def _start(self, event: RunStarted) -> None:
        self._progress.start(event)
        self._print(Text(clean(event.title), "bold"))
        facts = [f"{clean(key)} {clean(value)}" for key, value in event.facts.items()]
        for line in flow(facts, self._console.width - 1):
            self._print(Text(line, "dim"))
        if self._live is None:
            self._live = Live(
                console=self._console,
                get_renderable=self._frame,
                auto_refresh=False,
                vertical_overflow="crop",
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._redirected = sys.stdout, sys.stderr
            sys.stdout, sys.stderr = (AboveBars(self._console, stream) for stream in self._redirected)
            self._live.start()

    def _epoch(self, event: EpochDone) -> None:
        best = self._progress.add_epoch(event)
        cells = epoch_cells(event, self._progress.steps_per_epoch, best)
        self._fit()
        columns = fitting(cells, self._console.width - 1)
        scrolled = self._rows >= max(5, self._console.height - len(self._drawn) - 1)
        if columns != self._columns or scrolled:  # the first row, the window has another width, or the head is gone
            self._columns, self._rows = columns, 0
            self._print(epoch_line({name: name for name in columns}, columns, "dim"))
        self._rows += 1
        self._print(epoch_line(cells, columns))

    def _finish(self, event: RunFinished) -> None:
        if self._live is not None:
            self._live.transient = True  # the summary takes the place of the bars
        self.close()
        self._print(Ending(event.summary, self._hints), crop=False)
        if text := parting(event.summary, self._newest, self._again):
            self._console.print(Text(clean(text), "bold"), soft_wrap=True)  # a path is not broken

    def _print(self, what: object, crop: bool = True) -> None:
        self._fit()
        self._console.print(what, crop=crop)

    def _fit(self) -> None:
        """Take the size of the window as it is now."""
        columns, rows = window(self._stream)
        old, new = self._console.width, columns or 80
        self._console.size = (new, rows or 24)
        if self._live is not None and new < old:
            # Terminals break lines that no longer fit: rich would clear too few of them.
            broken = sum(max(0, cells - 1) // new for cells in self._drawn)
            self._console.control(Control(*((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * broken))

    def _draw(self) -> None:
        began = self._clock()
        self._fit()
        self._live.refresh()
        ended = self._clock()
        self._due = ended + max(PERIOD, SPARE * (ended - began))

    def _frame(self) -> Text:
        lines = frame(self._progress, self._evaluation, self._saved, self._console, self._console.height)
        if self._live is not None:
            # The cursor waits below the bars: there a killed run leaves the prompt, and Open MPI's
            # mpirun passes on only whole lines. Rich drops an empty last line, hence the blank.
            lines.append(Text(" "))
        self._drawn = [line.cell_len for line in lines]
        return Text("\n", no_wrap=True, overflow="crop", end="").join(lines)


def frame(
    progress: Progress, evaluation: EvaluationProgress | None, saved: str, console: Console, rows: int = 24
) -> list[Text]:
    """Return the lines below the table: two bars, the figures, and what the words mean, for the size of the window."""
    width = console.width - 1
    labels = (f"epoch {{}}/{progress.epochs}", f"step {{}}/{progress.steps_per_epoch}")
    left = max(len(labels[0].format(progress.epochs)), len(labels[1].format(progress.steps_per_epoch)))
    share, label, style = progress.step / max(1, progress.steps_per_epoch), labels[1].format(progress.step), "cyan"
    if evaluation is not None:
        share, style = evaluation.done / max(1, evaluation.total), "magenta"
        label = WORDS.get(evaluation.split, clean(evaluation.split))
    first, second, now, exchange = notes(progress, width - left - len("  100%"))
    bars = [
        (labels[0].format(min(progress.epoch + 1, progress.epochs)), progress.fraction, first, "green"),
        (label, share, second, style),
    ]
    shape = {"left": left, "right": max(len(first), len(second)), "width": width}
    lines = [bar(*values, **shape, ascii_only=console.options.ascii_only) for values in bars]
    past = flow(filter(None, [*last_epoch(progress), saved]), width)
    for extra in (exchange, []):  # in a low window there is no figure that needs to be explained
        legend = flow([f"{word} = {LEGEND[word]}" for word in LEGEND if extra or word != "exchange"], width)
        room = rows - SPARE_ROWS - len(lines) - len(flow(now + extra, width)) - len(past)
        if len(legend) <= room:
            break
    lines += [Text(line) for line in flow(now + extra, width)] + [Text(line, "dim") for line in past]
    return lines + [Text(line, "dim italic") for line in legend[: max(0, room)]]


def notes(progress: Progress, width: int) -> tuple[str, str, list[str], list[str]]:
    """Return what stands behind the two bars, the figures below them, and that of the exchange, if there is one.

    ``width`` cells are for bars and notes.
    """
    now = []
    if progress.step_seconds is not None:
        now = [f"running loss {number(progress.running_loss)}", f"running {percent(progress.running_accuracy)}"]
        now.append(f"lr {progress.lr:.4g}")
    exchange = [f"exchange {percent(progress.exchange_share, 1)}"] if progress.exchange_share else []
    times = [f"elapsed {duration(progress.elapsed)}"]
    speeds = []
    if progress.step_seconds is not None:
        times.append(f"{duration(progress.seconds_left)} left")
        speeds = [f"{milliseconds(progress.step_seconds)} ms/step", f"{progress.images_per_second:,.0f} images/s"]
    for count in (2, 1):
        first, second = GAP.join(times[-count:]), GAP.join(speeds[-count:])
        if width - max(len(first), len(second), 16 * count) > LEAST_BAR:
            rest = [*times[:-count], *speeds[:-count]]
            return first.rjust(16 * count - 1), second.rjust(16 * count - 1), now + rest, exchange
    return "", "", times + speeds + now, exchange


def last_epoch(progress: Progress) -> list[str]:
    """Return the figures of the last complete epoch."""
    found = []
    if progress.train is not None:
        found.append(f"train loss {number(progress.train.loss)}")
    if progress.valid is not None:
        found.append(f"valid loss {number(progress.valid.loss)}")
    if progress.train is not None:
        found.append(f"train {percent(progress.train.accuracy)}")
    if progress.valid is not None:
        found.append(f"valid {percent(progress.valid.accuracy)}")
    if progress.best is not None:
        found.append(f"* best {percent(progress.best)} (epoch {progress.best_epoch + 1})")
    return found


def bar(
    label: str, share: float, note: str, style: str, *, left: int, right: int, width: int, ascii_only: bool
) -> Text:
    """Return ``label``, a bar of which ``share`` (0 to 1) is filled, the share and ``note``."""
    share = min(max(share, 0.0), 1.0)
    label, note = label[:left].ljust(left), f" {share:4.0%}" + (f" {note.rjust(right)}" if right else "")
    room = width - len(label) - 1 - len(note)
    if room < LEAST_BAR // 2:  # a window so narrow that the share says it all
        return Text(f"{label}{note}"[:width])
    full, empty = ("=", "-") if ascii_only else ("━", "─")
    filled = int(share * room)
    return Text.assemble((label, "bold"), " ", (full * filled, style), (empty * (room - filled), "dim"), note)


def flow(items: Iterable[str], width: int, gap: str = GAP) -> list[str]:
    """Return ``items`` joined by ``gap`` into lines of at most ``width``; one that is longer is cut."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + len(gap) + len(item) <= width:
            lines[-1] += gap + item
        else:
            lines.append(item[:width])
    return lines
