"""The root's writing during a run: journal, checkpoints, post-mortems, event files, summary."""

import contextlib
import json
from collections.abc import Callable
from statistics import median
from typing import Any

from distlenet.errors import RunDirectoryError
from distlenet.numerics import numerics
from distlenet.runs.directory import LockedDirectory
from distlenet.runs.experiment import Experiment, RunOptions
from distlenet.runs.journal import Journal
from distlenet.runs.keeper import CheckpointKeeper
from distlenet.runs.tensorboard import TensorBoard
from distlenet.training.events import Diverged, Event, Listener, Notice, RunFinished, SaveRequested
from distlenet.training.postmortem import Report, short


class Writer:
    """A listener that writes journal, checkpoints, post-mortems and event files.

    If somebody removes the run directory, it is made again before the next save.
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
        self._owed: dict[str, str] = {}  # name -> text of post-mortems that could not be written yet
        facts = {"settings": config.to_dict(), "numerics": numerics(config.numerics)}
        self.journal = Journal(directory.journal, state, options.log_every, announce, facts)
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
        if isinstance(event, SaveRequested):
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
                self._announce(Notice(f"the post-mortem is not written yet: {error}", "warning"))
        elif isinstance(event, SaveRequested | RunFinished):
            with contextlib.suppress(RunDirectoryError):
                self._write_owed()

    def _write_owed(self) -> None:
        for name, text in list(self._owed.items()):
            self._directory.write(name, text)
            del self._owed[name]

    def _reclaim(self) -> None:
        """Make the run directory again if it was removed; raises RunDirectoryError if another run uses it."""
        try:
            removed = self._directory.reclaim()
        except OSError:  # the next write fails for the same reason, and reports it
            return
        if removed:
            text = f"{self._directory.path} was removed during the run: it is made again, without older checkpoints"
            self._announce(Notice(text, "warning"))
            with contextlib.suppress(OSError, RunDirectoryError):
                self.journal.restore()
                self._directory.write("config.toml", self._config.to_toml())

    def finish(self, summary: dict[str, Any]) -> int:
        """Write the summary; returns an exit code, which is not 0 if a file could not be written."""
        self._keeper.settle()
        if self._keeper.failing:
            summary["unsaved"] = True
        try:
            self._reclaim()
            self._directory.write("summary.json", json.dumps(summary, indent=2) + "\n")
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
    """Return a notice about the files that were set aside since the last call."""
    names, directory.moved = directory.moved, []
    text = f"not written by a run, edited since, or damaged, and therefore renamed: {', '.join(names)}"
    return [Notice(text, "warning")] * bool(names)


def in_words(record: dict[str, Any], what: str, report: Report) -> str:
    """Return a post-mortem as text, from the ``record`` of a divergence, the sentence ``what``, and its ``report``."""
    lines = [
        f"{record['kind']}: {what}",
        f"done about it: {record['action']}",
        "",
        *(f"* {finding}" for finding in report["findings"]),
        "",
        f"{'':14} {'units dead':>22} {'values zero':>22} {'std. deviation':>24}",
        f"{'layer':14} {'good':>11}{'now':>11} {'good':>11}{'now':>11} {'good':>12}{'now':>12}",
    ]
    for before, layer in zip(report["good"]["layers"], report["now"]["layers"], strict=True):
        lines.append(
            f"{layer['name']:14} {before['dead']:>5}/{layer['units']:<5}{layer['dead']:>5}/{layer['units']:<5}"
            + "".join(f" {_percent(before['zeros']):>10}{_percent(layer['zeros']):>11}")
            + f" {short(before['deviation']):>13}{short(layer['deviation']):>12}"
        )
    lines += ["", f"{'parameter':14} {'weight norm: good':>20}{'now':>11} {'gradient norm: median':>24}{'last':>11}"]
    for name, norm in report["now"]["weight_norms"].items():
        gradients = [value for value in report["gradient_norms"][name] if value is not None]
        lines.append(
            f"{name:14} {short(report['good']['weight_norms'][name]):>20}{short(norm):>11}"
            f" {short(median(gradients) if gradients else None):>24}{short(gradients[-1] if gradients else None):>11}"
        )
    lines += ["", "loss of the last steps:"]
    losses = [f"{short(loss):>9}" for loss in report["loss"]]
    lines += ["".join(losses[start : start + 10]) for start in range(0, len(losses), 10)]
    return "\n".join(lines) + "\n"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
