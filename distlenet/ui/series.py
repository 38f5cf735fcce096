"""The display of ``repeat`` and ``compare``: a live line in a terminal or plain lines in a log, then a table."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from distlenet.series.outcome import Outcome
from distlenet.series.table import Rows, as_text, line, remarks
from distlenet.series.trials import Trial
from distlenet.streams import SafeStream, clean, say
from distlenet.training.events import EpochDone, Event, Listener, Notice, RunFinished, RunStarted, StepDone
from distlenet.ui.console import Bars, make_console
from distlenet.ui.display import Guarded, make_display
from distlenet.ui.live import bar, fitting, notice
from distlenet.ui.progress import Display, Progress
from distlenet.ui.tables import table
from distlenet.ui.terminal import is_live
from distlenet.ui.text import duration, flow, percent

SERIES_LOST = "the display has ended, but the series continues and writes its results to its directory"
INTERVAL = 10.0  # seconds between plain lines of a run
# columns are dropped in this order if the window is narrow
NARROW = ("parameters", "images/s", "least", "most", "healed", "runs", "deviation", "time", "valid", "95 % confidence")
GAP = 2  # cells between two columns


class SeriesProgress:
    """The progress of a series and the duration of its runs. Runs completed before this process started count as done.

    ``settings`` names the setting of each run in order: "fast", "slow", "fast", ...; ``teams`` runs train at a time.
    """

    def __init__(self, settings: Sequence[str], teams: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings, self._teams, self._clock = settings, teams, clock
        self._started = clock()
        self._seconds: dict[str, list[float]] = {}  # durations of the runs trained by this process, by setting
        self._over: set[int] = set()

    @property
    def elapsed(self) -> float:
        """Seconds since this process started or resumed the series."""
        return self._clock() - self._started

    def add(self, place: int, seconds: float | None) -> None:
        """Note that the run at ``place`` (from 1) is over; ``seconds`` is None if it was complete before."""
        self._over.add(place)
        if seconds is not None:
            self._seconds.setdefault(self.settings[place - 1], []).append(seconds)

    def fraction(self, run: float) -> float:
        """Return the completed share of the series; ``run`` (0 to 1) is the completed share of the current run."""
        return min(1.0, (len(self._over) + run) / len(self.settings))

    def seconds_left(self, place: int, progress: Progress) -> float | None:
        """Return the seconds left for the series while the run at ``place`` trains; None before its first step."""
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
    """Shows one run of the series on ``stream``: if ``live`` as a line that is redrawn, otherwise as plain lines.

    Also shows warnings, and how to resume the series after a stop; with ``quiet`` nothing else.
    """

    def __init__(
        self,
        series: SeriesProgress,
        place: int,
        name: str,
        *,
        again: str,
        live: bool = False,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._series, self._place, self._name, self._quiet = series, place, clean(name), quiet
        self._stream = SafeStream(sys.stdout if stream is None else stream, SERIES_LOST)
        self._progress, self._clock = Progress(clock, again), clock
        self._bars = Bars(self._stream, self.lines, clock) if live and not quiet else None
        self._due = 0.0

    def on(self, event: Event) -> None:
        """See Display."""
        self._progress.add(event)
        match event:
            case StepDone() | EpochDone():
                self._write_if_due()
            case RunStarted():
                self._start(event)
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
        self._due = self._clock() + INTERVAL
        if self._bars:
            self._bars.start()
        elif not self._quiet:
            self._write(f"started, epochs: {event.epochs}" if not (event.epoch or event.step) else "resumed")

    def _finish(self, event: RunFinished) -> None:
        self.close()
        if text := self._progress.parting(event.summary):
            self._print(Text(f"{clean(event.summary.get('status'))}: {clean(text)}"))

    def _write_if_due(self) -> None:
        if self._bars or self._quiet or self._clock() < self._due:
            return
        self._due = self._clock() + INTERVAL
        self._write(", ".join(self._figures()))

    def _write(self, text: str) -> None:
        self._stream.write(f"{self._place}/{len(self._series.settings)} {self._name}: {text}\n")

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
        found.append(f"elapsed {duration(self._series.elapsed)}")
        left = self._series.seconds_left(self._place, now)
        return found if left is None else [*found, f"{duration(left)} left"]

    def lines(self, console: Console) -> list[Text]:
        """Return the lines to draw on ``console``: a bar for the series, and figures of the run."""
        width, run = console.width - 1, f"run {self._place}/{len(self._series.settings)}"
        share, ascii_only = self._series.fraction(self._progress.fraction), console.options.ascii_only
        progress = bar(run, share, "", "green", left=len(run), right=0, width=min(width, 60), ascii_only=ascii_only)
        return [progress, *map(Text, flow([*self._figures(), self._name], width)[:2])]


class SeriesView:
    """The root's display of a series; ``displays`` holds the display of the current run.

    ``mode`` is "brief" (one line per run, and the progress of the series) or a display of ``train``, used for each run.
    With ``as_json``, stdout is reserved for the result.
    """

    def __init__(
        self, trials: Sequence[Trial], teams: int, mode: str, as_json: bool, debug: bool, displays: ExitStack
    ) -> None:
        self._teams, self._mode, self._as_json, self._debug, self._displays = teams, mode, as_json, debug, displays
        self._places = {(trial.setting, trial.seed): place for place, trial in enumerate(trials, 1)}
        self._console = make_console()
        self._series = SeriesProgress([trial.setting for trial in trials], teams)
        self._started = 0.0

    def make_displays(self, trial: Trial) -> list[Listener]:
        """Return the listeners of one run."""
        again, as_json = "the same command", self._as_json
        display: Display
        if self._mode != "brief" and not as_json:
            display = make_display(self._mode, again=again)
        else:  # with --json, stdout is reserved for the result; teams would draw over each other
            stream = sys.stderr if as_json else sys.stdout
            live = is_live(stream) and self._teams == 1
            name, place = f"{trial.setting} seed {trial.seed}", self._places[trial.setting, trial.seed]
            quiet = as_json and not live
            display = SeriesLine(self._series, place, name, again=again, live=live, quiet=quiet, stream=stream)
        self._started = time.monotonic()
        return [self._displays.enter_context(display if self._debug else Guarded(display))]

    def tell(self, outcome: Outcome, kept: bool) -> None:
        """Show that a run is over."""
        self._displays.close()
        place = self._places[outcome.setting, outcome.seed]
        self._series.add(place, None if kept else time.monotonic() - self._started)
        if self._mode != "quiet" and not self._as_json:
            say(f"{place}/{len(self._places)} {line(asdict(outcome), kept)}")

    def conclude(self, results: dict[str, Any], rows: Rows) -> None:
        """Show the table of the whole series."""
        if self._console.is_terminal:
            head, *others = fitted(rows, self._console.width)
            self._console.print(table(head, others))
        else:  # a log has room for all columns
            print(as_text(rows), end="")
        for remark in remarks(results):
            say(remark)


def fitted(rows: Rows, width: int, narrow: Sequence[str] = NARROW) -> Rows:
    """Return ``rows`` with the columns that fit into ``width`` cells, without the first of ``narrow`` if necessary.

    The result files keep all columns.
    """
    columns = {column[0]: column for column in zip(*rows, strict=True)}
    kept = fitting(columns, width, narrow, lambda name: max(map(len, columns[name])) + GAP)
    return [list(row) for row in zip(*map(columns.__getitem__, kept), strict=True)]
