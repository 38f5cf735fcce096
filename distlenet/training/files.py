"""The files of a run, seen from its session: the root's, and the nothing that other ranks have instead."""

import contextlib
import os
import time
from typing import Any

from distlenet.atomic import why_not_written
from distlenet.config import Config, build_config, changes
from distlenet.errors import ConfigError, RunDirectoryError, UsageError
from distlenet.handshake import LAUNCHER
from distlenet.training.aftermath import Aftermath
from distlenet.training.announcer import Announcer
from distlenet.training.checkpoint import Checkpoint
from distlenet.training.events import Event, Notice, SaveAsked
from distlenet.training.experiment import Experiment, RunOptions
from distlenet.training.journal import Journal
from distlenet.training.keeper import CheckpointKeeper
from distlenet.training.lock import REPLACING
from distlenet.training.resume import find_source, go_on, settings_of
from distlenet.training.rundir import RunDirectory
from distlenet.training.signals import Signals
from distlenet.training.state import TrainState
from distlenet.training.tensorboard import TensorBoard, check_installed

PATIENCE = 50  # tenths of a second that a new root waits for the lock of the lost one


class NoFiles:
    """What every rank but the root has."""

    writes = False

    def find_origin(self, options: RunOptions) -> dict[str, Any] | None:
        """Return the ``meta`` of the checkpoint to go on from, if there is one."""
        return None

    def begin(self, options: RunOptions, experiment: Experiment, announce: Announcer, signals: Signals) -> list[Notice]:
        """Start writing; returns what the user should know."""
        return []

    def take_over(self, options: RunOptions, experiment: Experiment, announce: Announcer, signals: Signals) -> None:
        """Go on writing in place of a root that was lost."""

    def catch_up(self, state: TrainState) -> None:
        """Write what is missing of what led to ``state``, after ranks were lost."""

    def finish(self, summary: dict[str, Any], announce: Announcer) -> int:
        """Write the summary; returns an exit code."""
        return 0

    def close(self) -> None:
        """Lift the lock: the process goes on to other runs."""


class RunFiles(NoFiles):
    """The root's: run directory, lock, journal, checkpoints, summary."""

    writes = True

    def __init__(self) -> None:
        self._directory: RunDirectory | None = None
        self._origin: Checkpoint | None = None
        self._notices: list[Notice] = []
        self._resumed = False

    def find_origin(self, options: RunOptions) -> dict[str, Any] | None:
        """See NoFiles; a run that goes on with its own directory locks it first.

        Raises RunDirectoryError, CheckpointError, UsageError.
        """
        self._directory = directory = RunDirectory(options.run_directory)
        directory.check()
        if options.tensorboard:
            check_installed()
        if options.resume is None:
            return None
        try:
            inside = options.resume != "auto" and directory.contains(options.resume)
            goes_on = inside or (options.resume == "auto" and directory.holds_run())
        except OSError as error:
            text = f"cannot read the run directory {directory.path}: {why_not_written(error)}"
            raise RunDirectoryError(text) from error
        if inside and options.overwrite:
            raise UsageError(
                f"{options.resume} belongs to the run that --overwrite would remove: leave that out to go on in "
                f"{directory.path}, or choose another --run"
            )
        if options.resume == "auto":
            if options.overwrite and directory.state == REPLACING:
                return None  # it was being replaced when the process was killed: that is finished
            directory.check_resumable()
        if goes_on:
            directory.open(resume=True)
        self._origin, self._notices = find_source(directory, options.resume)
        if self._origin:
            return self._origin.meta
        settings = settings_of(directory)
        return {"config": settings} if settings else None

    def begin(self, options: RunOptions, experiment: Experiment, announce: Announcer, signals: Signals) -> list[Notice]:
        """See NoFiles; a new run replaces an older one only here, when all else is known to be right."""
        config, state = experiment.config, experiment.state
        if self._origin:
            self._origin.restore(state)
        if not self._directory.locked:  # a new run, or one that was begun elsewhere
            self._directory.open(overwrite=options.overwrite, copies=self._origin is not None)
        try:
            if self._origin:
                self._notices += go_on(self._origin, self._directory, state)
            journal = Journal(self._directory.journal, state, options.log_every, announce)
            if damaged := journal.complete(state.progress.history):
                text = f"{self._directory.journal} has {damaged} damaged line{'s' * (damaged > 1)}: left out"
                self._notices.append(Notice(text, "warning"))
            self._directory.claim(os.environ.get(LAUNCHER))
        except OSError as error:
            text = f"cannot write the run directory {self._directory.path}: {why_not_written(error)}"
            raise RunDirectoryError(text) from error
        self._notices += self._edits()
        self._resumed, self._origin = self._origin is not None, None  # its arrays were copied
        self._directory.write_text("config.toml", config.to_toml())
        self._notices += self._moved()
        self._write_from_now_on(journal, options, experiment, announce, signals)
        return self._notices

    def take_over(self, options: RunOptions, experiment: Experiment, announce: Announcer, signals: Signals) -> None:
        """Go on where a root that was lost left off: its lock is lifted as soon as the system has buried it."""
        state = experiment.state
        self._directory = RunDirectory(options.run_directory)
        for _ in range(PATIENCE):
            try:
                self._directory.open(resume=True)
                break
            except RunDirectoryError:
                time.sleep(0.1)
        else:
            self._directory.open(resume=True)
        journal = Journal(self._directory.journal, state, options.log_every, announce)
        self._write_from_now_on(journal, options, experiment, announce, signals)

    def catch_up(self, state: TrainState) -> None:
        """See NoFiles."""
        self._journal.complete(state.progress.history)

    def _write_from_now_on(
        self, journal: Journal, options: RunOptions, experiment: Experiment, announce: Announcer, signals: Signals
    ) -> None:
        config, state = experiment.config, experiment.state
        self._keeper = CheckpointKeeper(
            self._directory.checkpoints,
            state,
            config,
            experiment.dataset,
            announce,
            every=options.keep_every,
            newest=options.keep_newest,
            resumed=self._resumed,
        )
        self._journal = journal
        self._warden = Warden(self._directory, journal, config, announce)
        announce.listeners += [self._warden, journal, self._keeper, Aftermath(self._directory, announce)]
        if options.tensorboard:
            board = self._directory.path / "tensorboard"
            announce.listeners.append(TensorBoard(board, state, experiment.recorder, options.log_every, announce))
        signals.save_seconds = options.save_seconds

    def finish(self, summary: dict[str, Any], announce: Announcer) -> int:
        """See NoFiles; what cannot be written is said: the run is done, and its figures are shown."""
        self._keeper.settle()
        if self._keeper.failing:
            summary["unsaved"] = True
        try:
            self._warden.look()
            self._directory.write_summary(summary)
            for notice in self._moved():
                announce(notice)
        except RunDirectoryError as error:
            announce(Notice(str(error), "warning"))
            return error.exit_code
        if self._keeper.failing:
            announce(Notice("not all checkpoints could be written", "warning"))
            return RunDirectoryError.exit_code
        return 0

    def _edits(self) -> list[Notice]:
        """Return a notice if somebody has edited config.toml to change the run that is resumed."""
        path = self._directory.path / "config.toml"
        if self._origin is None or not path.is_file():
            return []
        try:
            edited = changes(self._origin.config, build_config(file=path, base=self._origin.meta["config"]))
        except ConfigError:
            return []  # it is renamed, and that is reported
        names = ", ".join(f"{name} = {new!r} (the run has {old!r})" for name, old, new, _ in edited)
        text = f"{path} was edited: {names}. The run keeps its own settings: change one by --override NAME and its flag"
        return [Notice(text, "warning")] * bool(edited)

    def _moved(self) -> list[Notice]:
        names, self._directory.moved = self._directory.moved, []
        text = f"not written by a run, edited since, or damaged, and therefore renamed: {', '.join(names)}"
        return [Notice(text, "warning")] * bool(names)

    def close(self) -> None:
        """See NoFiles."""
        if self._directory:
            self._directory.close()


class Warden:
    """A listener that makes the run directory anew when somebody has removed it, before it is written to."""

    def __init__(self, directory: RunDirectory, journal: Journal, config: Config, announce: Announcer) -> None:
        self._directory, self._journal, self._config, self._announce = directory, journal, config, announce
        self._owes = False  # journal and settings, in a directory that was made again

    def on(self, event: Event) -> None:
        """See Listener."""
        if isinstance(event, SaveAsked):
            self.look()

    def look(self) -> None:
        """See that the directory is there and ours; raises RunDirectoryError if another run has it by now."""
        try:
            removed = self._directory.reclaim()
        except OSError:  # those who write next meet the same trouble, and say so
            return
        self._owes |= removed
        if self._owes:
            with contextlib.suppress(OSError, RunDirectoryError):
                self._journal.restore()
                self._directory.write_text("config.toml", self._config.to_toml())
                self._owes = False
        if removed:
            text = f"{self._directory.path} was removed during the run: it is made anew, without older checkpoints"
            self._announce(Notice(text, "warning"))
