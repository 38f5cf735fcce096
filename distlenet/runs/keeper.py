"""The checkpoint keeper: a listener of the root that writes the last, the best and every n-th checkpoint."""

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
    """Writes ``last.h5`` on request, ``best.h5`` after the best epoch so far, ``epoch-0010.h5`` every ``every`` epochs.

    ``every`` is 0 for never. The ``newest`` last checkpoints are kept: last.h5, last-1.h5, ... ``announce`` passes
    events to all listeners. A keeper of a ``resumed`` run first completes a save that was interrupted by a kill.

    A failing or full disk does not end the run. The earlier files stay unchanged, and the user is warned, once until a
    save succeeds again. A best or n-th checkpoint that could not be written is owed: it waits in memory and is written
    at the next opportunity. At most ``most_owed`` bytes of n-th checkpoints wait; the best one always does.
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
        self._unsaved: tuple[int, int] | None = None  # position of the state that could not be saved as last.h5
        self._owed: dict[str, Owed] = {}
        self._given_up: dict[str, int] = {}  # name -> number of epochs complete at that time

    @property
    def failing(self) -> bool:
        """Whether a checkpoint is missing that should have been saved."""
        return bool(self._unsaved or self._owed or self._given_up)

    def on(self, event: Event) -> None:
        """See Listener."""
        if isinstance(event, SaveRequested):
            self._unsaved = None
            # best first: after a kill in between, the older last.h5 makes a resumed run repeat the epoch
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
        """Write owed checkpoints as far as the disk allows, and last.h5 if the unsaved state is the current one."""
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
        """Return (name, reason) of the checkpoints due between two epochs, other than last.h5."""
        state, due = self._state, []
        if state.progress.epoch and state.progress.step == 0:
            if state.progress.best_epoch == state.progress.epoch - 1:
                due.append(("best.h5", "best"))
            if self._every and state.progress.epoch % self._every == 0:
                due.append((f"epoch-{state.progress.epoch:04d}.h5", f"every {self._every} epochs"))
        return due

    def _complete(self) -> None:
        """Write the checkpoints of the resumed state that a process killed during the save did not write."""
        here = self._state.progress.order
        for name, reason in self._due():
            if order_of(self._directory / name) != here:
                self._save(name, reason)
        last, newest = self._directory / "last.h5", self._directory / "last-1.h5"
        if not last.exists() and newest.exists() and order_of(newest) == here:
            with contextlib.suppress(OSError):
                os.replace(newest, last)  # killed between two renames: undo the first one
        elif order_of(last) != here:
            self._save("last.h5", "last")

    def _age(self) -> None:
        """Rename last.h5 to last-1.h5 and so on, up to the first missing number.

        A kill in between leaves all files complete. Surplus files of a process that kept more are removed. Nothing is
        removed while last.h5 is missing.
        """
        if not (self._directory / "last.h5").exists():
            return
        names = [self._directory / ("last.h5" if age == 0 else f"last-{age}.h5") for age in range(self._newest)]
        there = list(takewhile(Path.exists, names))
        for younger, older in reversed(list(zip(there, names[1:], strict=False))):
            os.replace(younger, older)
        # up to the first missing number; files after a gap are not this run's
        surplus = (self._directory / f"last-{age}.h5" for age in count(max(1, self._newest)))
        for path in reversed(list(takewhile(Path.exists, surplus))):
            path.unlink()

    def _save(self, name: str, reason: str) -> None:
        state, config, dataset = self._state, self._config, self._dataset
        make_way = self._age if name == "last.h5" else lambda: None
        saved = self._write(name, reason, lambda path: write_checkpoint(path, state, config, dataset, make_way))
        if name == "last.h5":  # never owed, because a later one replaces it anyway
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
        """Call ``write`` with the path of the file; returns whether that succeeded."""
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

    epoch: int  # number of epochs complete at that time
    reason: str
    image: bytes
