"""The checkpoint keeper: a listener of the root's that writes last, best and every n-th checkpoint."""

import contextlib
import os
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path

from distlenet.config import Config
from distlenet.data.atomic import why_not_written
from distlenet.training.checkpoint import DatasetFacts
from distlenet.training.checkpoint_file import write_checkpoint
from distlenet.training.events import CheckpointSaved, Event, Notice, SaveAsked
from distlenet.training.state import TrainState


class CheckpointKeeper:
    """Writes ``last.h5`` when asked to save, ``best.h5`` after the best epoch so far, and ``epoch-0010.h5``
    every ``every`` epochs (0: never). The ``newest`` last ones are kept: last.h5, last-1.h5, ...

    A disk that fails or is full does not end the run: the earlier files stay as they were, and the user
    is told, once until a save succeeds again. ``announce`` passes events on to the other listeners;
    ``failing``: the latest save failed.
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
    ) -> None:
        self._directory, self._state, self._config, self._dataset = directory, state, config, dataset
        self._announce, self._every, self._newest = announce, every, newest
        self._best = self.failing = False

    def on(self, event: Event) -> None:
        """See Listener."""
        if not isinstance(event, SaveAsked):
            return
        state = self._state
        if state.epoch and state.step == 0:  # between two epochs
            # best first: a kill in between leaves an older "last", and the epoch is done again
            if state.best_epoch == state.epoch - 1:
                self._save("best.h5", "best")
            if self._every and state.epoch % self._every == 0:
                self._save(f"epoch-{state.epoch:04d}.h5", f"every {self._every} epochs")
        self._save("last.h5", "last" if event.reason == "epoch" else event.reason)

    def _age(self) -> None:
        """Move last.h5 to last-1.h5 and so on; a kill in between leaves every file whole.

        Older ones, of a process that was asked to keep more, are removed.
        """
        names = ["last.h5", *(f"last-{age}.h5" for age in range(1, self._newest))]
        for younger, older in reversed(list(pairwise(names))):
            with contextlib.suppress(FileNotFoundError):
                os.replace(self._directory / younger, self._directory / older)
        with contextlib.suppress(FileNotFoundError):  # at the first that is missing; what comes after is the user's
            for age in count(max(1, self._newest)):
                (self._directory / f"last-{age}.h5").unlink()

    def _save(self, name: str, reason: str) -> None:
        path = self._directory / name
        try:
            make_way = self._age if name == "last.h5" else lambda: None
            write_checkpoint(path, self._state, self._config, self._dataset, make_way)
        except OSError as error:
            if not self.failing:
                self.failing = True
                text = f"cannot write {path}: {why_not_written(error)}; the run goes on, earlier checkpoints stay"
                self._announce(Notice(text, "warning"))
        else:
            self.failing = False
            self._announce(CheckpointSaved(path, reason))
