"""Whole runs on pretend ranks: sessions with run directory, journal and checkpoints, in this process."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mortal
import numpy as np
import pretend

from distlenet.errors import ConfigError, DistlenetError
from distlenet.parallel import Communicator, Serial
from distlenet.runs import session as training
from distlenet.runs.experiment import RunOptions
from distlenet.runs.record import counting, read_lines
from distlenet.training.events import CheckpointSaved, Event, Notice, StepDone
from distlenet.training.signals import Signals
from distlenet.training.state import TrainState

TIMES = (
    *("seconds", "exchange_seconds", "load_seconds", "compute_seconds", "evaluation_seconds"),
    *("images_per_second", "exchange_share"),
)
RESULTS = ("status", "epochs", "steps", "theta_sha256", "test_accuracy", "test_loss", "val_accuracy", "evaluated")
Act = Callable[[int, TrainState, Signals], None]  # (rank, state, that rank's signals), after every step


@dataclass
class Session:
    """The outcome of a session."""

    run: Path
    codes: list[int | BaseException]  # each rank's exit code or exception
    events: list[Event] = field(default_factory=list)  # of the root

    @property
    def code(self) -> int:
        """The exit code, the same on every rank."""
        codes = {code.exit_code if isinstance(code, DistlenetError) else code for code in self.codes}
        assert len(codes) == 1, self.codes
        return codes.pop()

    def expect(self, code: int = 0, *words: str) -> "Session":
        """Return itself; AssertionError if the exit code differs or the error lacks one of ``words``."""
        assert self.code == code, self.codes
        assert all(word in self.error for word in words), self.error
        return self

    @property
    def notices(self) -> list[str]:
        """The notices shown to the user."""
        return [event.text for event in self.events if isinstance(event, Notice)]

    @property
    def saved(self) -> list[str]:
        """The names of the checkpoints that were written, in order."""
        return [event.path.name for event in self.events if isinstance(event, CheckpointSaved)]

    @property
    def error(self) -> str:
        """The sentence that the run ended with."""
        assert isinstance(self.codes[0], DistlenetError), self.codes
        assert len({(type(error), str(error)) for error in self.codes}) == 1, self.codes
        return str(self.codes[0])


class Watch:
    """A listener on any rank that calls ``act`` after every step and records all events."""

    def __init__(self, rank: int, signals: Signals, act: Act, events: list[Event]) -> None:
        self.state: TrainState | None = None
        self._rank, self._signals, self._act, self._events = rank, signals, act, events

    def on(self, event: Event) -> None:
        self._events.append(event)
        if isinstance(event, StepDone):
            self._act(self._rank, self.state, self._signals)


def train_run(
    data: Path,
    run: Path,
    ranks: int = 1,
    act: Act = lambda rank, state, signals: None,
    mortals: mortal.Job | None = None,
    **options: Any,
) -> Session:
    """Train with ``options``; 1 rank is a process without MPI. ``mortals``: ranks, some of which die."""
    asked = RunOptions(data=str(data), run_directory=str(run), **options)
    session = Session(run, [])

    def job(comm: Communicator) -> int:
        signals = Signals()
        watch = Watch(comm.rank, signals, act, session.events if comm.is_root else [])

        class Watched(training.Session):
            def prepare(self) -> Any:
                experiment = super().prepare()
                watch.state = experiment.state
                return experiment

        watched = Watched(asked, comm, signals, list)
        watched.root.listeners.append(watch)
        with np.errstate(all="ignore"):
            return watched.run()

    if mortals:
        session.codes = [code for code in mortal.outcomes(mortals, job) if not isinstance(code, mortal.Killed)]
    elif ranks == 1:
        try:
            session.codes = [job(Serial())]
        except DistlenetError as error:
            session.codes = [error]
    else:
        session.codes = pretend.outcomes(ranks, job)
    for code in session.codes:
        if isinstance(code, BaseException) and not isinstance(code, DistlenetError):
            raise code
    return session


def stop_after(step: int, rank: int = 0) -> Act:
    """Send ``rank`` a signal after ``step`` steps: it arrives in the next step or in the evaluation."""

    def act(own: int, state: TrainState, signals: Signals) -> None:
        if own == rank and state.progress.steps == step:
            signals.ask_to_stop()

    return act


def parts(data: Path, run: Path, flags: dict[str, Any], *chain: tuple[int, int | None]) -> list[Session]:
    """Train in parts: ``chain`` holds (ranks, step after which a signal comes); the last one runs to the end."""
    done: list[Session] = []
    for ranks, step in chain:
        asked = {"resume": "auto"} if done else {"flags": flags}
        act = stop_after(step, rank=ranks - 1) if step else lambda *_: None
        done.append(train_run(data, run, ranks, act, log_every=1, **asked).expect(130 if step else 0))
    return done


def fail_at(step: int = 0) -> Act:
    """Make every rank fail after ``step`` steps (0: at once), without another save."""

    def act(rank: int, state: TrainState, signals: Signals) -> None:
        if step in (0, state.progress.steps):
            raise ConfigError("killed")

    return act


def journal(run: Path, *kinds: str) -> list[dict[str, Any]]:
    """Return the journal's valid lines of ``kinds``, "step" and "epoch", without times and speeds."""
    lines, _ = read_lines(run / "journal.jsonl")
    counted = [line for kind in kinds or ("step", "epoch") for line in counting(lines, kind)]
    counted.sort(key=lambda line: (line["steps"], line["kind"] == "epoch"))
    return list(map(timeless, counted))


def timeless(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line of the journal or the history without times and speeds."""
    return {key: value for key, value in line.items() if key not in TIMES}


def lines(run: Path) -> list[dict[str, Any]]:
    """Return the lines of the journal, all of which must be whole."""
    return [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]


def summary(run: Path) -> dict[str, Any]:
    """Return the content of summary.json."""
    return json.loads((run / "summary.json").read_text())


def results(run: Path) -> dict[str, Any]:
    """Return the part of the summary that must not depend on ranks and interruptions."""
    return {name: summary(run).get(name) for name in RESULTS}
