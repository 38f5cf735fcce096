"""Bars in a terminal: the running epoch at the bottom, one row per complete epoch above."""

import time
from collections.abc import Callable
from pathlib import Path
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
    StepDone,
)
from distlenet.ui.bars import Bars
from distlenet.ui.display import DISPLAY_LOST, RESUME, Display, Progress, parting
from distlenet.ui.ending import Ending
from distlenet.ui.frame import flow, frame
from distlenet.ui.hints import Hints
from distlenet.ui.tables import epoch_cells, epoch_line, fitting


class LiveDisplay(Display):
    """Draws bars, figures and the table of epochs with rich."""

    def __init__(
        self,
        stream: TextIO,
        clock: Callable[[], float] = time.perf_counter,
        again: str = RESUME,
        hints: Hints = (),
    ) -> None:
        self._again, self._hints = again, hints
        self._bars = Bars(SafeStream(stream, DISPLAY_LOST), self._frame, clock)
        self._progress = Progress(clock)
        self._saved = ""
        self._newest: Path | None = None  # the checkpoint written last
        self._columns: list[str] = []
        self._rows = 0  # of the table since its head

    def on(self, event: Event) -> None:
        """Take note of ``event`` and redraw if it is time."""
        match event:
            case StepDone():
                self._progress.add_step(event)
            case EpochDone():
                self._epoch(event)
            case Notice():
                self._bars.print(notice(event))
            case CheckpointSaved():
                self._newest = event.path
                self._saved = f"saved {clean(event.path.name)} {time.strftime('%H:%M')}"
            case RunStarted():
                self._start(event)
            case RunFinished():
                self._finish(event)
        self._bars.draw()

    def close(self) -> None:
        """Stop drawing; the last bars stay, and what is printed next begins below them."""
        self._bars.stop()

    def _start(self, event: RunStarted) -> None:
        self._progress.start(event)
        self._bars.print(Text(clean(event.title), "bold"))
        facts = [f"{clean(key)} {clean(value)}" for key, value in event.facts.items()]
        for line in flow(facts, self._bars.console.width - 1):
            self._bars.print(Text(line, "dim"))
        self._bars.start()

    def _epoch(self, event: EpochDone) -> None:
        best = self._progress.add_epoch(event)
        cells = epoch_cells(event, self._progress.steps_per_epoch, best)
        self._bars.fit()
        columns = fitting(cells, self._bars.console.width - 1)
        scrolled = self._rows >= max(5, self._bars.console.height - len(self._bars.drawn) - 1)
        if columns != self._columns or scrolled:  # the first row, the window has another width, or the head is gone
            self._columns, self._rows = columns, 0
            self._bars.print(epoch_line({name: name for name in columns}, columns, "dim"))
        self._rows += 1
        self._bars.print(epoch_line(cells, columns))

    def _finish(self, event: RunFinished) -> None:
        self._bars.stop(keep=False)  # the result takes the place of the bars
        self._bars.print(Ending(event.summary, self._hints), crop=False)
        if text := parting(event.summary, self._newest, self._again):
            self._bars.print(Text(clean(text), "bold"), soft_wrap=True)  # a path is not broken

    def _frame(self, console: Console) -> list[Text]:
        return frame(self._progress, self._saved, console, console.height)


def notice(event: Notice) -> Text:
    """Return the line of ``event`` for a terminal."""
    return Text(f"{clean(event.level)}: {clean(event.text)}", "dim" if event.level == "info" else "bold magenta")
