"""Where a series of ``repeat`` or ``compare`` stands: a live line in a terminal, plain lines now and then in a log."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.text import Text

from distlenet.streams import SafeStream, clean
from distlenet.training.events import CheckpointSaved, EpochDone, Event, Notice, RunFinished, RunStarted, StepDone
from distlenet.ui.bars import Bars
from distlenet.ui.display import Display, Progress, duration, parting, percent
from distlenet.ui.frame import bar, flow
from distlenet.ui.live import notice

SERIES_LOST = "the series is not shown any more, but goes on: its results are written to its directory"
INTERVAL = 10.0  # seconds between plain lines of a run


class Course:
    """How far the series is, and how long its runs take; what was done before this process started counts as done.

    ``settings`` are those of all runs in order: "fast", "slow", "fast", ...; ``teams`` runs go on at a time.
    """

    def __init__(self, settings: Sequence[str], teams: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings, self._teams, self._clock = settings, teams, clock
        self._started = clock()
        self._seconds: dict[str, list[float]] = {}  # of the runs that this process trained, by setting
        self._over: set[int] = set()

    @property
    def elapsed(self) -> float:
        """Seconds since this process started or resumed the series."""
        return self._clock() - self._started

    def add(self, place: int, seconds: float | None) -> None:
        """Note that the run at ``place`` (from 1) is over; ``seconds``: None if it was over before."""
        self._over.add(place)
        if seconds is not None:
            self._seconds.setdefault(self.settings[place - 1], []).append(seconds)

    def fraction(self, run: float) -> float:
        """Return the share of the series that is done, when ``run`` (0 to 1) of the running one is."""
        return min(1.0, (len(self._over) + run) / len(self.settings))

    def seconds_left(self, place: int, progress: Progress) -> float | None:
        """Return the time left for the series, in which the run at ``place`` goes on; None before its first step."""
        left = progress.seconds_left
        if left is None:
            return None
        own = progress.elapsed + left
        known = {setting: sum(times) / len(times) for setting, times in self._seconds.items()}
        mean = (sum(known.values()) + own) / (len(known) + 1)
        known.setdefault(self.settings[place - 1], own)
        waiting = [n for n in range(1, len(self.settings) + 1) if n not in self._over and n > place]
        return left + sum(known.get(self.settings[n - 1], mean) for n in waiting) / self._teams


class SeriesLine(Display):
    """Shows one run of the series on ``stream``: a line that is drawn again where it is ``live``, else lines.

    Warnings, and what resumes the series when it was stopped, are shown as well. ``quiet``: nothing else.
    """

    def __init__(
        self,
        course: Course,
        place: int,
        name: str,
        *,
        again: str,
        live: bool = False,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._course, self._place, self._name, self._again, self._quiet = course, place, clean(name), again, quiet
        self._stream = SafeStream(sys.stdout if stream is None else stream, SERIES_LOST)
        self._progress, self._clock = Progress(clock), clock
        self._bars = Bars(self._stream, self._lines, clock) if live and not quiet else None
        self._newest: Path | None = None  # the checkpoint written last
        self._due = 0.0

    def on(self, event: Event) -> None:
        """See Display."""
        match event:
            case StepDone():
                self._progress.add_step(event)
                self._write_if_due()
            case EpochDone():
                self._progress.add_epoch(event)
                self._write_if_due()
            case RunStarted():
                self._start(event)
            case CheckpointSaved():
                self._newest = event.path
            case Notice() if event.level != "info":
                self._print(notice(event))
            case RunFinished():
                self._finish(event)
        if self._bars:
            self._bars.draw()

    def close(self) -> None:
        """See Display."""
        if self._bars:
            self._bars.stop(keep=False)

    def _start(self, event: RunStarted) -> None:
        self._progress.start(event)
        self._due = self._clock() + INTERVAL
        if self._bars:
            self._bars.start()
        elif not self._quiet:
            self._write(f"started, epochs: {event.epochs}" if not (event.epoch or event.step) else "resumed")

    def _finish(self, event: RunFinished) -> None:
        self.close()
        if text := parting(event.summary, self._newest, self._again):
            self._print(Text(f"{clean(event.summary.get('status'))}: {clean(text)}"))

    def _write_if_due(self) -> None:
        if self._bars or self._quiet or self._clock() < self._due:
            return
        self._due = self._clock() + INTERVAL
        self._write(", ".join(self._figures()))

    def _write(self, text: str) -> None:
        self._stream.write(f"{self._place}/{len(self._course.settings)} {self._name}: {text}\n")

    def _print(self, line: Text) -> None:
        if self._bars:
            self._bars.print(line, soft_wrap=True)
        else:
            self._stream.write(f"{line.plain}\n")

    def _figures(self) -> list[str]:
        now = self._progress
        found = [f"epoch {min(now.epoch + 1, now.epochs)}/{now.epochs}"]
        if now.valid is not None:
            found.append(f"valid {percent(now.valid.accuracy)}")
        found.append(f"elapsed {duration(self._course.elapsed)}")
        left = self._course.seconds_left(self._place, now)
        return found if left is None else [*found, f"{duration(left)} left"]

    def _lines(self, console: Console) -> list[Text]:
        width, run = console.width - 1, f"run {self._place}/{len(self._course.settings)}"
        share = self._course.fraction(self._progress.fraction)
        shape = {"left": len(run), "right": 0, "width": min(width, 60), "ascii_only": console.options.ascii_only}
        figures = flow([*self._figures(), self._name], width)
        return [bar(run, share, "", "green", **shape), *map(Text, figures[:2])]
