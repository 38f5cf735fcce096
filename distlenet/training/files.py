"""The files of a run, seen from its session: the root's, and the nothing that other ranks have instead."""

from typing import Any

from distlenet.errors import RunDirectoryError
from distlenet.training.announcer import Announcer
from distlenet.training.checkpoint import Checkpoint
from distlenet.training.events import Notice
from distlenet.training.experiment import Experiment, Options
from distlenet.training.journal import Journal
from distlenet.training.keeper import CheckpointKeeper
from distlenet.training.resume import find_source, restore
from distlenet.training.rundir import RunDirectory
from distlenet.training.stopping import Signals


class NoFiles:
    """What every rank but the root has."""

    writes = False

    def find_origin(self, options: Options) -> dict[str, Any] | None:
        """Return the ``meta`` of the checkpoint to go on from, if there is one."""
        return None

    def begin(self, options: Options, experiment: Experiment, announce: Announcer, signals: Signals) -> list[str]:
        """Start writing; returns what the user should know."""
        return []

    def finish(self, summary: dict[str, Any], announce: Announcer) -> int:
        """Write the summary; returns an exit code."""
        return 0


class RunFiles(NoFiles):
    """The root's: run directory, lock, journal, checkpoints, summary."""

    writes = True

    def __init__(self) -> None:
        self._origin: Checkpoint | None = None
        self._notices: list[str] = []

    def find_origin(self, options: Options) -> dict[str, Any] | None:
        """See NoFiles; a resumed run locks its directory first. Raises RunDirectoryError, CheckpointError."""
        if options.resume is None:
            return None
        self._directory = RunDirectory(options.run_directory)
        self._directory.open(resume=True)
        self._origin, self._notices = find_source(self._directory, options.resume)
        return self._origin.meta if self._origin else None

    def begin(self, options: Options, experiment: Experiment, announce: Announcer, signals: Signals) -> list[str]:
        """See NoFiles; a new run replaces an older one only here, when all else is known to be right."""
        config, state = experiment.config, experiment.state
        if options.resume is None:
            self._directory = RunDirectory(options.run_directory)
            self._directory.open(overwrite=options.overwrite)
        if self._origin:
            self._notices.append(restore(self._origin, self._directory, state))
        self._directory.write_text("config.toml", config.to_toml())
        keeper = CheckpointKeeper(
            self._directory.checkpoints,
            state,
            config,
            experiment.dataset,
            announce,
            every=options.keep_every,
            newest=options.keep_newest,
        )
        announce.listeners += [Journal(self._directory.journal, options.log_every, state.steps, announce), keeper]
        signals.save_seconds = options.save_seconds
        return self._notices

    def finish(self, summary: dict[str, Any], announce: Announcer) -> int:
        """See NoFiles; a summary that cannot be written is said: the run is done, and its figures are shown."""
        try:
            self._directory.write_summary(summary)
        except RunDirectoryError as error:
            announce(Notice(str(error), "warning"))
            return error.exit_code
        return 0
