"""Lines for logs: ``12:03:04 step epoch=3/20 step=120/215 running_loss=0.0213 ...``, no escape codes.

Each line is a time of day, the kind of event, and ``key=value`` pairs. Values with spaces are quoted as in a shell, so
``shlex.split`` parses a line.
"""

import shlex
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from distlenet.streams import SafeStream, clean
from distlenet.training.events import (
    CheckpointSaved,
    EpochDone,
    Event,
    Notice,
    RunFinished,
    RunStarted,
    Score,
    StepDone,
)
from distlenet.ui.progress import DISPLAY_LOST, Display, Progress
from distlenet.ui.text import LEGEND, RESUME, Hints, duration, milliseconds, number, percent

INTERVAL = 10.0  # seconds between lines within an epoch


class PlainDisplay(Display):
    """Writes a line for each important event; if ``quiet``, only warnings and the result."""

    def __init__(
        self,
        stream: TextIO,
        quiet: bool = False,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
        again: str = RESUME,
        hints: Hints = (),
    ) -> None:
        self._stream = SafeStream(stream, DISPLAY_LOST)
        self._quiet, self._hints = quiet, hints
        self._interval, self._clock = interval, clock
        self._due = clock() + interval
        self._progress = Progress(clock, again)
        self._explained = False
        self._saved: set[tuple[str, str]] = set()

    def on(self, event: Event) -> None:
        """Write a line for ``event`` if one is due."""
        self._progress.add(event)
        match event:
            case StepDone() if self._is_due():
                self._line("step", self._step())
            case EpochDone():
                self._epoch(event)
            case Notice():
                if event.level != "info" or not self._quiet:
                    self._write(event.level, {"text": event.text})
            case CheckpointSaved():
                self._checkpoint(event)
            case RunStarted():
                self._start(event)
            case RunFinished():
                self._write("result", result(event.summary))
                if text := self._progress.parting(event.summary):
                    self._write("info", {"text": text})
                if self._hints and event.summary.get("status") == "complete":
                    self._line("next", {f"{n}": command for n, (command, _) in enumerate(self._hints, 1)})

    def _is_due(self) -> bool:
        now = self._clock()
        if now < self._due:
            return False
        self._due = now + self._interval
        return True

    def _start(self, event: RunStarted) -> None:
        self._due = self._clock() + self._interval
        position: dict[str, object] = {"epochs": event.epochs, "steps_per_epoch": event.steps_per_epoch}
        if event.epoch or event.step:
            position["resumed_at"] = f"{event.epoch}+{event.step}/{event.steps_per_epoch}"
        facts = {key.replace(" ", "_"): value for key, value in event.facts.items()}
        self._line("start", {"date": time.strftime("%Y-%m-%d"), "title": event.title} | position | facts)
        if not self._explained:
            self._explained = True
            words = {word.replace(" ", "").replace("*", "best"): text for word, text in LEGEND.items()}
            self._line("words", words)

    def _step(self) -> dict[str, object]:
        now = self._progress
        return {
            "epoch": f"{now.epoch + 1}/{now.epochs}",
            "step": f"{now.step}/{now.steps_per_epoch}",
            "running_loss": number(now.running_loss),
            "running": percent(now.running_accuracy),
            "lr": f"{now.lr:.4g}",
            "images/s": f"{now.images_per_second:.0f}",
            "ms/step": milliseconds(now.step_seconds),
            "exchange": percent(now.exchange_share, 1),
            **self._times(),
        }

    def _times(self) -> dict[str, str]:
        return {"elapsed": duration(self._progress.elapsed), "left": duration(self._progress.seconds_left)}

    def _epoch(self, event: EpochDone) -> None:
        self._due = self._clock() + self._interval
        scores = score("running", event.running) | score("train", event.train)
        scores |= score("valid", event.validation) | score("test", event.test)
        speed = {
            "images/s": f"{event.images_per_second:.0f}",
            "ms/step": milliseconds(self._progress.mean_step_seconds(event)),
            "seconds": f"{event.seconds:.2f}",
            "evaluation_seconds": f"{event.evaluation_seconds:.2f}",
            "exchange": percent(event.exchange_share, 1),
            "lr": f"{event.lr:.4g}",
            **self._times(),
        }
        epoch, best = f"{event.epoch + 1}/{self._progress.epochs}", self._progress.is_best(event)
        self._line("epoch", {"epoch": epoch} | scores | speed | ({"best": "yes"} if best else {}))

    def _checkpoint(self, event: CheckpointSaved) -> None:
        known = (event.reason, str(event.path))
        if known not in self._saved:  # "last" is written every epoch, but reported once
            self._saved.add(known)
            self._line("checkpoint", {"reason": event.reason, "path": event.path})

    def _line(self, kind: str, values: Mapping[str, object]) -> None:
        if not self._quiet:
            self._write(kind, values)

    def _write(self, kind: str, values: Mapping[str, object]) -> None:
        pairs = " ".join(f"{clean(key)}={quote(value)}" for key, value in values.items())
        # one write for the whole line, since several processes may write to one log
        self._stream.write(f"{time.strftime('%H:%M:%S')} {kind} {pairs}\n")


def quote(value: object) -> str:
    """Return ``value`` on one line, quoted where ``shlex.split`` needs it."""
    text = clean(value)
    plain = text and not any(c.isspace() or c in "\"'\\" for c in text)
    return text if plain else shlex.quote(text)


def score(name: str, value: Score | None) -> dict[str, str]:
    """Return the pairs that show ``value``; empty for None."""
    if value is None:
        return {}
    return {f"{name}_loss": number(value.loss), name: percent(value.accuracy)}


def result(summary: Mapping[str, object]) -> dict[str, object]:
    """Return the pairs of a run's last line: the plain values of ``summary``, rounded."""
    plain = {key: value for key, value in summary.items() if isinstance(value, str | int | float)}
    return {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in plain.items()}
