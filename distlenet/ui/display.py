"""What every display shares: the choice among them and the figures they show.

with make_display("auto") as display:
    for event in train(...):
        display.on(event)
"""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from distlenet.streams import note
from distlenet.training.events import EpochDone, Event, RunStarted, Score, StepDone
from distlenet.ui.hints import Hints
from distlenet.ui.terminal import choose

RATE_MEMORY = 3.0  # seconds over which speeds are averaged
LOSS_MEMORY = 0.98  # weight a step's loss keeps at the next step
DISPLAY_LOST = "the run is not shown any more, but goes on: what it writes is in its directory"
RESUME = "the same command and --resume"  # what resumes a run that was stopped
# Every display uses these words, and those of the journal: "running", "train", "validation", "test".
LEGEND = {
    "running": "this epoch so far, augmented images",
    "train, valid": "after the epoch, images as they are",
    "*": "best valid so far",
    "exchange": "share of the time spent between ranks",
}


class Display:
    """A listener that shows a run, and a context manager that leaves the terminal as it was."""

    def on(self, event: Event) -> None:
        """Show ``event``, or take note of it for later."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the terminal back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Guarded(Display):
    """A display of which a defect ends the display, not the run."""

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

    ``again`` says what resumes the run when it was stopped; ``hints`` are commands to try when it is complete, with
    what each is for (see ui/hints.py).
    """
    stream = sys.stdout if stream is None else stream
    kind = choose(mode, stream)
    if kind == "live":
        from distlenet.ui.live import LiveDisplay  # rich is loaded only when something is drawn

        return LiveDisplay(stream, again=again, hints=hints)
    from distlenet.ui.plain import PlainDisplay

    return PlainDisplay(stream, quiet=kind == "quiet", again=again, hints=hints)


class Progress:
    """Where the run stands and how fast it goes, from the events alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._started = clock, None
        self.epochs = self.steps_per_epoch = 0
        self.epoch = self.step = 0  # running epoch, 0-based; steps complete in it
        self.lr = 0.0
        self.train: Score | None = None  # after the last complete epoch
        self.valid: Score | None = None
        self.best: float | None = None
        self.best_epoch = 0
        self._evaluation_seconds = 0.0
        self._images = self._seconds = self._exchange = self._steps = 0.0  # fading sums: recent steps weigh most
        self._loss = self._loss_weight = 0.0
        self._correct = self._seen = 0.0  # of the running epoch

    def start(self, event: RunStarted) -> None:
        """Take the position from ``event``; a run that was healed may start again further back."""
        if self._started is None:
            self._started = self._clock()
        self.epochs, self.steps_per_epoch = event.epochs, event.steps_per_epoch
        self.epoch, self.step = event.epoch, event.step
        self.best, self.best_epoch = event.best_accuracy, event.best_epoch or 0
        self._correct = self._seen = 0.0

    def add_step(self, event: StepDone) -> None:
        """Add one step to the figures; called at every step, so it must be cheap."""
        if event.epoch != self.epoch or event.step < self.step:
            self._correct = self._seen = 0.0
        self.epoch, self.step, self.lr = event.epoch, event.step + 1, event.lr
        self._correct += event.accuracy * event.count
        self._seen += event.count
        fade = math.exp(-event.seconds / RATE_MEMORY)
        self._images = self._images * fade + event.count
        self._seconds = self._seconds * fade + event.seconds
        self._exchange = self._exchange * fade + event.exchange_seconds
        self._steps = self._steps * fade + 1
        if math.isfinite(event.loss):  # one NaN must not spoil the average of a run that was healed
            self._loss = self._loss * LOSS_MEMORY + event.loss
            self._loss_weight = self._loss_weight * LOSS_MEMORY + 1

    def add_epoch(self, event: EpochDone) -> bool:
        """Add a complete epoch; return whether its validation accuracy is the best so far."""
        self.epoch, self.step, self.lr = event.epoch, self.steps_per_epoch, event.lr
        self._evaluation_seconds = event.evaluation_seconds
        self.train, self.valid = event.train, event.validation
        if self.valid is None or (self.best is not None and self.valid.accuracy < self.best):
            return False
        self.best, self.best_epoch = self.valid.accuracy, event.epoch
        return True

    @property
    def elapsed(self) -> float:
        """Seconds since this process started or resumed the run."""
        return 0.0 if self._started is None else self._clock() - self._started

    @property
    def running_loss(self) -> float | None:
        """Smoothed loss of the last steps; None before the first."""
        return self._loss / self._loss_weight if self._loss_weight else None

    @property
    def running_accuracy(self) -> float | None:
        """Training accuracy of the running epoch so far, 0 to 1; None before its first step."""
        return self._correct / self._seen if self._seen else None

    @property
    def step_seconds(self) -> float | None:
        """Smoothed time of a step; None before the first."""
        return self._seconds / self._steps if self._steps else None

    @property
    def images_per_second(self) -> float:
        """Smoothed training speed; 0 before the first step."""
        return self._images / self._seconds if self._seconds else 0.0

    @property
    def exchange_share(self) -> float:
        """Smoothed share of the step time spent exchanging gradients, 0 to 1."""
        return self._exchange / self._seconds if self._seconds else 0.0

    @property
    def fraction(self) -> float:
        """Share of the whole run that is done, 0 to 1."""
        total = self.epochs * self.steps_per_epoch
        return min(1.0, (self.epoch * self.steps_per_epoch + self.step) / total) if total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Time left for the whole run, evaluations included once one was seen; None before a step."""
        if not self._steps:
            return None
        steps = self.epochs * self.steps_per_epoch - self.epoch * self.steps_per_epoch - self.step
        evaluations = self.epochs - self.epoch - (self.step >= self.steps_per_epoch)
        return max(0.0, steps * self._seconds / self._steps + evaluations * self._evaluation_seconds)


def duration(seconds: float | None) -> str:
    """Return ``seconds`` as "42s", "3m05s", "2h10m" or "1d04h"; "?" for None."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    for size, unit, small, mark in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // small:02d}{mark}"
    return f"{whole}s"


def milliseconds(seconds: float) -> str:
    """Return ``seconds`` as "4.72" or "1,250", in milliseconds."""
    return f"{1000 * seconds:.2f}" if seconds < 0.1 else f"{1000 * seconds:,.0f}"


def step_time(event: EpochDone, steps_per_epoch: int) -> float | None:
    """Return the mean time of a step of the epoch; None if this process trained nothing of it."""
    if not (event.images_per_second and steps_per_epoch):
        return None
    return event.running.count / steps_per_epoch / event.images_per_second


def parting(summary: Mapping[str, Any], saved: Path | None, again: str) -> str | None:
    """Return how to go on with a run that was asked to end; None of any other, or if nothing was ``saved``."""
    if summary.get("failure") != "Stopped" or saved is None:
        return None
    if summary.get("unsaved"):  # on a disk that fails
        return f"the end could not be saved, {saved} is older; go on with {again}"
    return f"saved in {saved}; go on with {again}"


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share of 0 to 1 as "98.70%"; "-" for None."""
    return "-" if share is None else f"{100 * share:.{digits}f}%"


def number(loss: float | None) -> str:
    """Return a loss as "0.0213" or "1.2e+06"; "-" for None."""
    if loss is None:
        return "-"
    return f"{loss:.4f}" if abs(loss) < 10_000 else f"{loss:.4g}"
