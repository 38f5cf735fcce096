"""What the root writes while a run goes on: journal, checkpoints, post-mortems, event files, a summary."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

from distlenet.errors import RunDirectoryError
from distlenet.runs.directory import LockedDirectory
from distlenet.runs.experiment import Experiment, RunOptions
from distlenet.runs.journal import Journal
from distlenet.runs.keeper import CheckpointKeeper
from distlenet.runs.tensorboard import TensorBoard
from distlenet.training.events import Diverged, Event, Listener, Notice, RunFinished, SaveAsked
from distlenet.training.postmortem import in_words


class Writer:
    """A listener that writes what happens: journal, checkpoints, post-mortems, event files.

    When somebody has removed the run directory, it is made again before something is saved.
    """

    def __init__(
        self,
        directory: LockedDirectory,
        options: RunOptions,
        experiment: Experiment,
        announce: Callable[[Event], None],
        resumed: bool,
    ) -> None:
        state, config = experiment.state, experiment.config
        self._directory, self._config, self._announce = directory, config, announce
        self._owed: dict[str, str] = {}  # name: text, of post-mortems that could not be written
        self.journal = Journal(directory.journal, state, options.log_every, announce)
        self._keeper = CheckpointKeeper(
            directory.checkpoints,
            state,
            config,
            experiment.dataset,
            announce,
            every=options.keep_every,
            newest=options.keep_newest,
            resumed=resumed,
        )
        self._listeners: list[Listener] = [self.journal, self._keeper]
        if options.tensorboard:
            board = directory.path / "tensorboard"
            self._listeners.append(TensorBoard(board, state, experiment.recorder, options.log_every, announce))

    def on(self, event: Event) -> None:
        """See Listener."""
        if isinstance(event, SaveAsked):
            self._reclaim()
        for listener in self._listeners:
            listener.on(event)
        if isinstance(event, Diverged):
            name, whole = f"postmortem/{event.number}", {**event.record, "what": event.what, **event.report}
            self._owed[f"{name}.txt"] = in_words(event.record, event.what, event.report)
            self._owed[f"{name}.json"] = json.dumps(whole) + "\n"
            try:
                self._write_owed()
            except RunDirectoryError as error:
                self._announce(Notice(f"no post-mortem yet: {error}", "warning"))
        elif isinstance(event, SaveAsked | RunFinished):
            with contextlib.suppress(RunDirectoryError):
                self._write_owed()

    def _write_owed(self) -> None:
        for name, text in list(self._owed.items()):
            self._directory.write_text(name, text)
            del self._owed[name]

    def _reclaim(self) -> None:
        """Make the run directory again if somebody has removed it; raises RunDirectoryError if another run has it."""
        try:
            removed = self._directory.reclaim()
        except OSError:  # whoever writes next meets the same trouble, and reports it
            return
        if removed:
            text = f"{self._directory.path} was removed during the run: it is made again, without older checkpoints"
            self._announce(Notice(text, "warning"))
            with contextlib.suppress(OSError, RunDirectoryError):
                self.journal.restore()
                self._directory.write_text("config.toml", self._config.to_toml())

    def finish(self, summary: dict[str, Any]) -> int:
        """Write the summary; returns an exit code, not 0 if something is missing in the directory."""
        self._keeper.settle()
        if self._keeper.failing:
            summary["unsaved"] = True
        try:
            self._reclaim()
            self._directory.write_text("summary.json", json.dumps(summary, indent=2) + "\n")
            for notice in moved(self._directory):
                self._announce(notice)
        except RunDirectoryError as error:
            self._announce(Notice(str(error), "warning"))
            return error.exit_code
        if self._keeper.failing:
            self._announce(Notice("not all checkpoints could be written", "warning"))
            return RunDirectoryError.exit_code
        return 0


def moved(directory: LockedDirectory) -> list[Notice]:
    """Return a notice of the files that were renamed since the last time."""
    names, directory.moved = directory.moved, []
    text = f"not written by a run, edited since, or damaged, and therefore renamed: {', '.join(names)}"
    return [Notice(text, "warning")] * bool(names)
