"""The work of the root in a run: showing it and writing its files. Other ranks have a class that does nothing."""

import os
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from distlenet.errors import CallbackError, RunDirectoryError, UsageError
from distlenet.handshake import LAUNCH_ID, job_folder
from distlenet.runs.callbacks import Callbacks
from distlenet.runs.checkpoint import Checkpoint
from distlenet.runs.directory import LockedDirectory, RunDirectory, able_to
from distlenet.runs.experiment import Experiment, RunOptions
from distlenet.runs.lock import REPLACING
from distlenet.runs.resume import bring_files, edits, find_source, settings_of
from distlenet.runs.tensorboard import check_installed
from distlenet.runs.timeline import NAME, as_file
from distlenet.runs.writer import Writer, moved
from distlenet.training.events import Event, Listener, Notice, SaveRequested
from distlenet.training.signals import Signals
from distlenet.training.state import TrainState

PATIENCE = 50  # tenths of a second that a new root waits for the lock of the lost one


class OtherRank:
    """Stands in for Root on all other ranks: it has no listeners and writes nothing."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []

    def announce(self, event: Event) -> None:
        """Pass ``event`` to every listener; listeners may announce further events."""
        for listener in self.listeners:
            listener.on(event)

    def find_origin(self) -> dict[str, Any] | None:
        """Return the ``meta`` of the checkpoint to resume from, None for a new run."""
        return None

    def begin(self, experiment: Experiment) -> list[Notice]:
        """Restore the state of a resumed run and start writing; returns notices for the user."""
        return []

    def take_over(self, experiment: Experiment) -> None:
        """Continue writing in place of a lost root."""

    def catch_up(self, state: TrainState) -> None:
        """After ranks were lost, complete the journal up to ``state``."""

    def finish(self, summary: dict[str, Any]) -> int:
        """Write the summary; returns an exit code."""
        return 0

    def write_timeline(self, parts: Iterator[memoryview], facts: dict[str, Any]) -> list[Notice]:
        """Write the timeline of all ranks' ``parts``, which come by messages; returns notices for the user."""
        deque(parts, maxlen=0)
        return []

    def work(self, event: Event) -> str | None:
        """Return what this rank does in response to ``event``, for the timeline; None for nothing."""
        return None

    @property
    def callback_failure(self) -> CallbackError | None:
        """The error of a callback, if one asked the run to stop."""
        return None

    def close(self) -> None:
        """Release everything, because the process may start other runs."""
        self.listeners.clear()  # breaks reference cycles: listeners hold this object's announce method


class Root(OtherRank):
    """The root: ``views`` get every event before it is written to the run directory."""

    def __init__(self, options: RunOptions, signals: Signals, views: list[Listener], others: list[Listener]) -> None:
        super().__init__()
        self._callbacks = Callbacks(options.callbacks, signals)
        self.listeners += [*others, *views, self._callbacks]
        self._options, self._signals = options, signals
        self._origin: Checkpoint | None = None
        self._notices: list[Notice] = []
        self._directory: LockedDirectory | None = None
        self._writer: Writer | None = None

    def find_origin(self) -> dict[str, Any] | None:
        """See OtherRank. A run that resumes in its own directory locks it first.

        If the directory holds no checkpoint yet, returns only its settings. Raises RunDirectoryError, CheckpointError,
        UsageError.
        """
        options, directory = self._options, RunDirectory(self._options.run_directory)
        directory.check()
        if options.tensorboard:
            check_installed()
        if options.resume is None:
            return None
        auto = options.resume == "auto"
        with able_to(f"read the run directory {directory.path}"):
            own = directory.holds_run() if auto else directory.contains(options.resume)
        if own and options.overwrite and not auto:
            raise UsageError(
                f"{options.resume} belongs to the run that --overwrite would remove: leave out --overwrite to resume "
                f"the run in {directory.path}, or choose another --run"
            )
        if auto:
            if options.overwrite and directory.state == REPLACING:
                return None  # a process was killed while it replaced the run: finish that
            directory.check_resumable()
        if own:
            self._directory = LockedDirectory(directory.path)
        self._origin, self._notices = find_source(directory, options.resume)
        settings = None if self._origin else settings_of(directory)
        return self._origin.meta if self._origin else {"config": settings} if settings else None

    def begin(self, experiment: Experiment) -> list[Notice]:
        """See OtherRank. A new run replaces an older one only here, after everything else was checked."""
        origin, self._origin = self._origin, None  # its arrays are copied and can be freed
        if origin:
            origin.restore(experiment.state)
        if self._directory is None:  # a new run, or one resumed from another directory
            self._directory = LockedDirectory(self._options.run_directory)
            self._directory.start(self._options.overwrite, copies=origin is not None)
        directory = self._directory
        with able_to(f"write the run directory {directory.path}"):
            directory.make_way(directory.journal)
            directory.detach(directory.journal)
            if origin:
                where = experiment.state.progress.upcoming(experiment.leaves.plan.steps_per_epoch)
                self._notices.append(Notice(f"resuming from {origin.path}: {where}"))
                self._notices += bring_files(origin, directory, experiment.state)
                self._notices += edits(directory, origin)
            journal = self._write(directory, experiment, resumed=origin is not None).journal
            directory.claim(os.environ.get(LAUNCH_ID), job_folder())
        damaged = journal.complete(experiment.state.progress.history)
        self._notices += [Notice(text, "warning") for text in damaged]
        directory.write("config.toml", experiment.config.to_toml())
        return self._notices + moved(directory)

    def take_over(self, experiment: Experiment) -> None:
        """See OtherRank. Waits for the lock, which the system releases once the lost root is gone."""
        for attempt in range(PATIENCE):
            try:
                self._directory = directory = LockedDirectory(self._options.run_directory)
                break
            except RunDirectoryError:
                if attempt == PATIENCE - 1:
                    raise
                time.sleep(0.1)
        self._write(directory, experiment, resumed=False)

    def _write(self, directory: LockedDirectory, experiment: Experiment, resumed: bool) -> Writer:
        """Start writing."""
        with able_to(f"write the run directory {directory.path}"):
            self._writer = writer = Writer(directory, self._options, experiment, self.announce, resumed)
        self.listeners.append(writer)
        self._signals.save_seconds = self._options.save_seconds
        return writer

    def catch_up(self, state: TrainState) -> None:
        """See OtherRank."""
        if self._writer:
            self._writer.journal.complete(state.progress.history)

    def finish(self, summary: dict[str, Any]) -> int:
        """See OtherRank. Failures to write are reported, not raised: the run is complete, and its figures are shown."""
        return self._writer.finish(summary) if self._writer else 0

    def write_timeline(self, parts: Iterator[memoryview], facts: dict[str, Any]) -> list[Notice]:
        """See OtherRank. A failure to write is reported, not raised."""
        content, directory = as_file(parts, facts), self._directory
        if directory is None:
            return []
        try:
            directory.write(NAME, content)
        except RunDirectoryError as error:
            return [Notice(f"no timeline: {error}; the run continues", "warning")]
        return [Notice(f"timeline: {directory.path / NAME}, for Perfetto or chrome://tracing"), *moved(directory)]

    def work(self, event: Event) -> str | None:
        """See OtherRank."""
        return "checkpoint" if isinstance(event, SaveRequested) else "display and journal"

    @property
    def callback_failure(self) -> CallbackError | None:
        """See OtherRank."""
        return self._callbacks.failure

    def close(self) -> None:
        """See OtherRank. Releases the lock."""
        super().close()
        self._writer = None
        if self._directory:
            self._directory.close()
