"""A run's position and speed, computed from its events for all displays."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from distlenet.training.events import CheckpointSaved, EpochDone, Event, RunStarted, Score, StepDone
from distlenet.ui.text import RESUME

RATE_MEMORY = 3.0  # seconds over which speeds are averaged
LOSS_MEMORY = 0.98  # factor by which a step's weight shrinks at the next step
DISPLAY_LOST = "the display has ended, but the run continues and writes its files"


class Display:
    """A listener that shows a run, and a context manager that leaves the terminal as it was."""

    def on(self, event: Event) -> None:
        """Show ``event``, or remember it for later."""
        raise NotImplementedError

    def close(self) -> None:
        """Release the terminal."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Progress:
    """The figures of a run. ``again`` tells the user how to resume it after a stop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, again: str = RESUME) -> None:
        self._clock, self._again = clock, again
        self._started: float | None = None
        self.epochs = self.steps_per_epoch = 0
        self.epoch = self.step = 0  # running epoch, 0-based; steps complete in it
        self.lr = 0.0
        self.train: Score | None = None  # after the last complete epoch
        self.valid: Score | None = None
        self.best: float | None = None
        self.best_epoch = 0
        self.saved: Path | None = None  # the newest checkpoint
        self._evaluation_seconds = 0.0
        self._images = self._seconds = self._exchange = self._steps = 0.0  # fading sums: recent steps weigh most
        self._loss = self._loss_weight = 0.0
        self._correct = self._seen = 0.0  # of the running epoch

    def add(self, event: Event) -> None:
        """Add ``event``. Called at every step, so it must be cheap."""
        match event:
            case StepDone():
                self._add_step(event)
            case EpochDone():
                self.epoch, self.step, self.lr = event.epoch, self.steps_per_epoch, event.lr
                self._evaluation_seconds = event.evaluation_seconds
                self.train, self.valid = event.train, event.validation
                if self.valid is not None and (self.best is None or self.valid.accuracy >= self.best):
                    self.best, self.best_epoch = self.valid.accuracy, event.epoch
            case CheckpointSaved():
                self.saved = event.path
            case RunStarted():
                self._start(event)

    def _start(self, event: RunStarted) -> None:
        """Take the position from ``event``; a healed run may continue from an earlier one."""
        if self._started is None:
            self._started = self._clock()
        self.epochs, self.steps_per_epoch = event.epochs, event.steps_per_epoch
        self.epoch, self.step = event.epoch, event.step
        self.best, self.best_epoch = event.best_accuracy, event.best_epoch or 0
        self._correct = self._seen = 0.0

    def _add_step(self, event: StepDone) -> None:
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
        if math.isfinite(event.loss):  # a NaN must not spoil the average of a run that heals
            self._loss = self._loss * LOSS_MEMORY + event.loss
            self._loss_weight = self._loss_weight * LOSS_MEMORY + 1

    def is_best(self, event: EpochDone) -> bool:
        """Whether ``event``, added last, has the best validation accuracy so far."""
        return event.validation is not None and self.best_epoch == event.epoch

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
        """The completed share of the whole run, 0 to 1."""
        total = self.epochs * self.steps_per_epoch
        return min(1.0, (self.epoch * self.steps_per_epoch + self.step) / total) if total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Time left for the whole run, including evaluations once one was timed; None before the first step."""
        if not self._steps:
            return None
        steps = self.epochs * self.steps_per_epoch - self.epoch * self.steps_per_epoch - self.step
        evaluations = self.epochs - self.epoch - (self.step >= self.steps_per_epoch)
        return max(0.0, steps * self._seconds / self._steps + evaluations * self._evaluation_seconds)

    def mean_step_seconds(self, event: EpochDone) -> float | None:
        """Return the mean time of a step of the epoch; None if this process trained none of it."""
        if not (event.images_per_second and self.steps_per_epoch):
            return None
        return event.running.count / self.steps_per_epoch / event.images_per_second

    def parting(self, summary: Mapping[str, Any]) -> str | None:
        """Return how to resume a run that was asked to end; None for any other run, or if nothing was saved."""
        if summary.get("failure") != "Stopped" or self.saved is None:
            return None
        if summary.get("unsaved"):  # the disk failed or was full
            return f"the last steps could not be saved, {self.saved} is older; resume with {self._again}"
        return f"saved in {self.saved}; resume with {self._again}"
