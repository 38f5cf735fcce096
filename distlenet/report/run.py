"""What a run directory holds for its report: a checkpoint, the history, what happened, the summary."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distlenet.bounded import read_json
from distlenet.errors import CheckpointError
from distlenet.nn import NOTHING, Net, Trust
from distlenet.training.checkpoint import Checkpoint
from distlenet.training.checkpoint_file import read_checkpoint
from distlenet.training.logbook import counting, number, read_lines
from distlenet.training.rundir import RunDirectory, find_checkpoint


@dataclass(frozen=True)
class Run:
    """A run as its files tell it; ``notes`` are sentences on what is missing or damaged among them."""

    path: Path
    checkpoint: Checkpoint  # the best, else the newest
    epochs: list[dict[str, Any]]  # EpochDone's fields, in order; see training/events.py
    steps: list[dict[str, Any]]  # StepDone's fields, of the steps that the journal has
    happenings: list[dict[str, Any]]  # lines of kind start, notice, end
    summary: dict[str, Any]  # empty while the run has not ended
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the run has ended as planned, its test images read."""
        return self.summary.get("status") == "complete" and number(self.summary, "test_accuracy") is not None


def read_run(path: Path, trust: Trust = NOTHING) -> Run:
    """Read the run directory ``path``; ``trust`` says which code its network may be.

    A journal or summary that is missing or damaged is noted; the curves then come from the newest checkpoint as
    far as that knows them. Raises CheckpointError when there is no good checkpoint at all.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path} is not a run directory, expected the --run of `distlenet train`")
    notes: list[str] = []
    newest, damaged = None, []
    if (path / "checkpoints").is_dir():
        newest, damaged = RunDirectory(path).newest_checkpoint(trust)
    notes += [f"{error}: passed over" for error in damaged]
    try:
        checkpoint = find_checkpoint(path, trust=trust)
    except CheckpointError:  # a damaged best.h5
        if newest is None:
            raise
        checkpoint = replace(newest, trust=trust)
    lines = _read_journal(path / "journal.jsonl", notes)
    by_epoch = {entry.get("epoch"): entry for entry in newest.progress.history if isinstance(entry, dict)}
    by_epoch |= {line.get("epoch"): line for line in counting(lines, "epoch") if type(line.get("epoch")) is int}
    epochs = [by_epoch[epoch] for epoch in sorted(epoch for epoch in by_epoch if type(epoch) is int)]
    steps = counting(lines, "step")
    happenings = [line for line in lines if line["kind"] in ("start", "notice", "end")]
    return Run(path, checkpoint, epochs, steps, happenings, _read_summary(path / "summary.json", notes), notes)


def _read_journal(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    """Return the good lines of the journal; ``notes`` are told of the others."""
    try:
        lines, damaged = read_lines(path)
    except OSError as error:
        notes.append(
            f"cannot read {path} ({error.strerror}): the curves end where the newest checkpoint does, and what "
            "happened on the way is not known"
        )
        return []
    if damaged:
        notes.append(f"{path} has {damaged} damaged line{'s' * (damaged > 1)}: left out")
    return lines


def _read_summary(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        summary = read_json(path)
        if isinstance(summary, dict):
            return summary
        notes.append(f"{path} is not a JSON object: left out")
    except FileNotFoundError:
        notes.append("the run has not ended: it has no summary.json")
    except (OSError, ValueError) as error:
        notes.append(f"cannot read {path} ({error}): left out")
    return {}


def divergences(summary: dict[str, Any]) -> list[str]:
    """Return a sentence for each time the run of ``summary`` diverged: where, how, and what was done."""
    records = summary.get("divergences")
    found = []
    for record in records if isinstance(records, list) else []:
        if isinstance(record, dict):
            epoch, step = (1 + (number(record, key) or 0) for key in ("epoch", "step"))
            found.append(f"epoch {epoch:.0f}, step {step:.0f}: {record.get('kind')}, {record.get('action')}")
    return found


def series(entries: list[dict[str, Any]], *keys: str) -> list[float]:
    """Return the number at ``keys`` of every entry, NaN where there is none: matplotlib leaves that out."""
    found = (number(entry, *keys) for entry in entries)
    return [math.nan if value is None else value for value in found]


def norms_by_epoch(run: Run, net: Net) -> tuple[list[int], dict[str, list[float]]]:
    """Return the epochs of the checkpoints that were kept, and the norm of each weight array of ``net`` at these.

    The parameters of ``net`` are as they were afterwards.
    """
    found: dict[int, dict[str, float]] = {}
    own = net.theta.copy()
    for path in RunDirectory(run.path).saved():
        try:
            checkpoint = read_checkpoint(path, run.checkpoint.trust)
        except CheckpointError:
            continue
        if checkpoint.position[0] and checkpoint.averaged.shape == own.shape:
            net.theta[:] = checkpoint.averaged
            found[checkpoint.position[1]] = {
                name: float((parameter.value.astype("f8") ** 2).sum() ** 0.5)
                for name, parameter in net.parameters.items()
                if parameter.is_weight
            }
    net.theta[:] = own
    epochs = sorted(found)
    names = list(found[epochs[0]]) if epochs else []
    return epochs, {name: [found[epoch][name] for epoch in epochs] for name in names}
