"""The checkpoint keeper: a listener of the root's that writes last, best and every n-th checkpoint."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count, takewhile
from pathlib import Path

from distlenet.atomic import Attempts
from distlenet.config import Config
from distlenet.data.slices import DatasetFacts
from distlenet.runs.checkpoint_file import checkpoint_image, write_checkpoint, write_image
from distlenet.runs.choice import order_of
from distlenet.runs.ours import set_aside
from distlenet.training.events import CheckpointSaved, Diverged, Event, Notice, RunStarted, SaveRequested, warner
from distlenet.training.state import TrainState


class CheckpointKeeper:
    """Writes ``last.h5`` when asked to save, ``best.h5`` after the best epoch so far, and ``epoch-0010.h5``
    every ``every`` epochs (0: never). The ``newest`` last ones are kept: last.h5, last-1.h5, ...

    A disk that fails or is full does not end the run: the earlier files stay as they were, and the user is told, once
    until a save succeeds again. A best or kept checkpoint that could not be written is owed: it is written at the next
    chance. ``announce`` passes events on to the other listeners. ``resumed``: what a kill left undone is done first.
    ``most_owed``: bytes of kept checkpoints that wait in memory; the best one waits whatever its size.
    """

    def __init__(
        self,
        directory: Path,
        state: TrainState,
        config: Config,
        dataset: DatasetFacts,
        announce: Callable[[Event], None],
        every: int = 0,
        newest: int = 2,
        resumed: bool = False,
        most_owed: int = 2**28,
    ) -> None:
        self._directory, self._state, self._config, self._dataset = directory, state, config, dataset
        self._announce, self._every, self._newest, self._resumed = announce, every, newest, resumed
        self._most_owed = most_owed
        self._warn = warner(announce)
        self._attempts = Attempts(self._warn, "training continues, earlier checkpoints stay")
        self._unsaved: tuple[int, int] | None = None  # the place that last.h5 should be of, and is not
        self._owed: dict[str, Owed] = {}
        self._given_up: dict[str, int] = {}  # name: complete epochs then

    @property
    def failing(self) -> bool:
        """Whether something that should be saved is not."""
        return bool(self._unsaved or self._owed or self._given_up)

    def on(self, event: Event) -> None:
        """See Listener."""
        if isinstance(event, SaveRequested):
            self._unsaved = None
            # best first: a kill in between leaves an older "last", and the epoch is done again
            for name, reason in self._due():
                self._save(name, reason)
            self.settle()
            self._save("last.h5", "last" if event.reason == "epoch" else event.reason)
        elif isinstance(event, RunStarted) and self._resumed:
            self._resumed = False
            self._complete()
        elif isinstance(event, Diverged) and event.back_to:
            self._owed = {name: owed for name, owed in self._owed.items() if owed.epoch <= event.back_to[1]}
            self._given_up = {name: epoch for name, epoch in self._given_up.items() if epoch <= event.back_to[1]}
            self._set_best_aside(event.back_to)

    def settle(self) -> None:
        """Write what is owed, as far as the disk allows, and last.h5 if the state is still the one to be saved."""
        for name, owed in list(self._owed.items()):
            self._write(name, owed.reason, partial(write_image, image=owed.image))
        if self._unsaved == self._here:
            self._save("last.h5", "last")

    def _set_best_aside(self, back_to: tuple[int, int]) -> None:
        """Rename best.h5 if it is of a later epoch than the run went back to: the run will find another best epoch."""
        best = self._directory / "best.h5"
        order = order_of(best)
        if order and order[1:] > back_to:
            with contextlib.suppress(OSError):
                text = f"{best} is of an epoch that the run went back from: it is renamed {set_aside(best)}"
                self._announce(Notice(text))

    @property
    def _here(self) -> tuple[int, int]:
        return self._state.progress.steps, self._state.progress.epoch

    def _due(self) -> list[tuple[str, str]]:
        """Return what is to be saved between two epochs, besides last.h5: (name, reason) each."""
        state, due = self._state, []
        if state.progress.epoch and state.progress.step == 0:
            if state.progress.best_epoch == state.progress.epoch - 1:
                due.append(("best.h5", "best"))
            if self._every and state.progress.epoch % self._every == 0:
                due.append((f"epoch-{state.progress.epoch:04d}.h5", f"every {self._every} epochs"))
        return due

    def _complete(self) -> None:
        """Write what a process that was killed in a save had not written yet, of the moment that is resumed."""
        here = self._state.progress.order
        for name, reason in self._due():
            if order_of(self._directory / name) != here:
                self._save(name, reason)
        last, newest = self._directory / "last.h5", self._directory / "last-1.h5"
        if not last.exists() and newest.exists() and order_of(newest) == here:
            with contextlib.suppress(OSError):
                os.replace(newest, last)  # killed between two renames: the younger one of them is taken back
        elif order_of(last) != here:
            self._save("last.h5", "last")

    def _age(self) -> None:
        """Move last.h5 to last-1.h5 and so on, up to the first that is missing; a kill in between leaves every file
        whole, and the rest to be done.

        Older ones, of a process that was asked to keep more, are removed; nothing is while there is no last.h5.
        """
        if not (self._directory / "last.h5").exists():
            return
        names = [self._directory / ("last.h5" if age == 0 else f"last-{age}.h5") for age in range(self._newest)]
        there = list(takewhile(Path.exists, names))
        for younger, older in reversed(list(zip(there, names[1:], strict=False))):
            os.replace(younger, older)
        # up to the first that is missing; what comes after is the user's
        surplus = (self._directory / f"last-{age}.h5" for age in count(max(1, self._newest)))
        for path in reversed(list(takewhile(Path.exists, surplus))):
            path.unlink()

    def _save(self, name: str, reason: str) -> None:
        state, config, dataset = self._state, self._config, self._dataset
        make_way = self._age if name == "last.h5" else lambda: None
        saved = self._write(name, reason, lambda path: write_checkpoint(path, state, config, dataset, make_way))
        if name == "last.h5":  # it is written again anyway, of a later moment, and never owed
            self._unsaved = None if saved else self._here
        elif not saved:
            self._owe(name, reason)

    def _owe(self, name: str, reason: str) -> None:
        image = checkpoint_image(self._state, self._config, self._dataset)
        others = sum(len(owed.image) for key, owed in self._owed.items() if key != name)
        if name == "best.h5" or len(image) + others <= self._most_owed:
            self._owed[name] = Owed(self._state.progress.epoch, reason, image)
        else:
            self._given_up[name] = self._state.progress.epoch
            most = self._most_owed >> 20
            self._warn(f"{name} is given up: more than {most} MiB of checkpoints would wait in memory for the disk")

    def _write(self, name: str, reason: str, write: Callable[[Path], None]) -> bool:
        """Call ``write`` with the path of the file; returns whether it is written."""
        path = self._directory / name
        if not self._attempts.do(path, lambda: write(path)):
            return False
        self._owed.pop(name, None)
        self._given_up.pop(name, None)
        self._announce(CheckpointSaved(path, reason))
        return True


@dataclass(frozen=True)
class Owed:
    """A checkpoint that could not be written."""

    epoch: int  # complete epochs then
    reason: str
    image: bytes
