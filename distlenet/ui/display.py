"""Choosing a display.

with make_display("auto") as display:
    for event in train(...):
        display.on(event)
"""

import contextlib
import sys
from collections.abc import Callable
from typing import TextIO

from distlenet.nn.inspection import LayerStatistics
from distlenet.streams import note
from distlenet.training.events import EpochDone, Event, LayersWatched
from distlenet.ui.progress import DISPLAY_LOST, Display
from distlenet.ui.terminal import choose
from distlenet.ui.text import RESUME, Hints


class Guarded(Display):
    """Wraps a display so that an error in it ends the display, not the run."""

    def __init__(self, display: Display) -> None:
        self._display: Display | None = display

    def on(self, event: Event) -> None:
        """See Display."""
        self._safely(lambda display: display.on(event))

    def close(self) -> None:
        """See Display."""
        self._safely(lambda display: display.close())

    def _safely(self, work: Callable[[Display], None]) -> None:
        if self._display is None:
            return
        try:
            work(self._display)
        except Exception as error:
            display, self._display = self._display, None
            with contextlib.suppress(Exception):
                display.close()
            note(f"{DISPLAY_LOST} ({type(error).__name__}: {error})")


def make_display(mode: str = "auto", stream: TextIO | None = None, again: str = RESUME, hints: Hints = ()) -> Display:
    """Return the display for ``mode`` ("auto", "live", "plain" or "quiet") on ``stream`` (stdout).

    ``again`` tells the user how to resume a stopped run. ``hints`` are commands to try after a complete run, each with
    its purpose (see ui/text.py).
    """
    stream = sys.stdout if stream is None else stream
    kind = choose(mode, stream)
    if kind == "live":
        from distlenet.ui.live import LiveDisplay  # loads rich only if something is drawn

        return LiveDisplay(stream, again=again, hints=hints)
    if kind == "notebook":
        from distlenet.ui.notebook import NotebookDisplay

        return NotebookDisplay(again=again, hints=hints)
    from distlenet.ui.plain import PlainDisplay

    return PlainDisplay(stream, quiet=kind == "quiet", again=again, hints=hints)


class DebugView:
    """The listener of --debug: prints the statistics of every layer's last call after each epoch."""

    def __init__(self) -> None:
        self._statistics: Callable[[], list[LayerStatistics]] = list

    def on(self, event: Event) -> None:
        """See Listener."""
        if isinstance(event, LayersWatched):
            self._statistics = event.statistics
        elif isinstance(event, EpochDone):
            sys.stdout.write(self.table())
            sys.stdout.flush()

    def table(self) -> str:
        """Return the table, one line per layer."""
        lines = ["layer            mean   deviation    largest  zeros  |gradient|    |weight|"]
        for row in self._statistics():
            mean, deviation, largest, zeros = row.output.values()
            norms = f"{row.gradient_norm:11.4g} {row.weight_norm:11.4g}" if row.weight_norm else ""
            output = f"{mean:10.4g} {deviation:11.4g} {largest:10.4g} {100 * zeros:5.1f}%"
            lines.append(f"{row.name:14} {output} {norms}".rstrip())
        return "\n".join(lines) + "\n"
