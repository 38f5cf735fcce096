"""Reading a run: its checkpoint, its summary, and the steps and epochs of its journal that count, each once.

A journal may come from an untrusted source. Only the keys that a run writes are kept of each line, so that it takes
little more memory than its size, and the number of lines of each kind is limited to that of the longest run.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from distlenet import bounded
from distlenet.errors import CheckpointError
from distlenet.runs.checkpoint import Checkpoint
from distlenet.runs.choice import find_checkpoint, newest_checkpoint
from distlenet.runs.directory import RunDirectory
from distlenet.training.events import EpochDone, Notice, RunStarted, Score, StepDone
from distlenet.trust import NOTHING, Trust

Line = dict[str, Any]
EVENTS = (StepDone, EpochDone, RunStarted, Notice, Score)
DIVERGENCE = ("cause", "mean_loss", "level", "action", "lr_factor")
# entries of a line, besides the fields of its event
BY_JOURNAL = ("kind", "steps", "status", "date", "host", "command", "settings", "numerics", *DIVERGENCE)
KNOWN = {name: name for name in (*BY_JOURNAL, *(f.name for event in EVENTS for f in fields(event)))}
MOST = {"step": 1_000_000, "epoch": 100_000, "other": 10_000}  # lines of each kind; other: starts, notices, ends
LONGEST_TEXT = 2000  # characters
MOST_ENTRIES = 80  # entries of an object within a line
STEP = '{"kind": "step", '  # the start of such a line


@dataclass(frozen=True)
class Record:
    """The content of a run's files, finished or not; ``notes`` are sentences about missing or damaged files."""

    path: Path
    epochs: list[Line]  # EpochDone's fields, in order; see training/events.py
    steps: list[Line]  # StepDone's fields, for the steps in the journal
    happenings: list[Line]  # lines of kind start, notice, end
    summary: dict[str, Any]  # empty while the run has not ended
    notes: list[str]

    @property
    def complete(self) -> bool:
        """Whether the run has ended as planned, its test images read."""
        return self.summary.get("status") == "complete" and number(self.summary, "test_accuracy") is not None


@dataclass(frozen=True)
class Run(Record):
    """A run with its best checkpoint, otherwise its newest."""

    checkpoint: Checkpoint


def read_record(path: Path, steps: bool = True, history: Sequence[dict[str, Any]] = ()) -> Record:
    """Read journal and summary of the run directory ``path``; the notes list missing or damaged files.

    Epochs missing in the journal come from the ``history`` of a checkpoint. ``steps``: whether to read steps too.
    """
    journal, lines, notes = path / "journal.jsonl", list[Line](), list[str]()
    try:
        lines, notes = read_lines(journal, steps)
    except OSError as error:
        notes.append(
            f"cannot read {journal} ({error.strerror}): the curves end at the newest checkpoint, and the run's notices "
            "are missing"
        )
    by_epoch = {entry["epoch"]: entry for entry in history}
    by_epoch |= {line["epoch"]: line for line in counting(lines, "epoch") if type(line.get("epoch")) is int}
    happenings = [line for line in lines if line["kind"] in ("start", "notice", "end")]
    epochs, summary = [by_epoch[epoch] for epoch in sorted(by_epoch)], read_summary(path / "summary.json", notes)
    return Record(path, epochs, counting(lines, "step"), happenings, summary, notes)


def read_run(path: Path, trust: Trust = NOTHING) -> Run:
    """Read the run directory ``path``; ``trust`` tells which user-defined code its network may run.

    Notes tell if journal or summary are missing or damaged; the curves then come from the newest checkpoint, as far as
    it holds them. Raises CheckpointError if there is no good checkpoint.
    """
    if not (path / "checkpoints").is_dir():
        raise CheckpointError(
            f"{path} is not a run directory: it has no checkpoints/, expected the --run of `distlenet train`"
        )
    newest, damaged = newest_checkpoint(RunDirectory(path), trust)
    try:
        checkpoint = find_checkpoint(path, trust=trust)
    except CheckpointError:  # a damaged best.h5
        checkpoint = replace(newest, trust=trust)
    record = read_record(path, history=newest.progress.history)
    notes = [*(f"{error}: skipped" for error in damaged), *record.notes]
    return Run(**vars(record) | {"notes": notes, "checkpoint": checkpoint})


def read_summary(path: Path, notes: list[str]) -> dict[str, Any]:
    """Return the summary.json ``path``; if it cannot be read, return an empty one and add the reason to ``notes``."""
    try:
        summary = bounded.read_json(path)
        if isinstance(summary, dict):
            return summary
        notes.append(f"{path} is not a JSON object: left out")
    except FileNotFoundError:
        notes.append("the run has not ended: it has no summary.json")
    except (OSError, ValueError) as error:
        notes.append(f"cannot read {path} ({error}): left out")
    return {}


def divergences(summary: dict[str, Any]) -> list[str]:
    """Return a sentence for each divergence in ``summary``: where, its kind, and the action."""
    records = summary.get("divergences")
    found = []
    for record in records if isinstance(records, list) else []:
        if isinstance(record, dict):
            epoch, step = (1 + (number(record, key) or 0) for key in ("epoch", "step"))
            found.append(f"epoch {epoch:.0f}, step {step:.0f}: {record.get('kind')}, {record.get('action')}")
    return found


def read_lines(path: Path, steps: bool = True, most: Mapping[str, int] = MOST) -> tuple[list[Line], list[str]]:
    """Return the good lines of the journal ``path`` (those of steps only if ``steps``), and a note about damaged ones.

    Raises OSError, also if it has more lines of a kind than ``most``, which no run writes.
    """
    lines, damaged, counts = [], 0, dict.fromkeys(most, 0)
    for text in bounded.lines(path):
        if not steps and text is not None and text.startswith(STEP):
            continue
        try:
            line = _kept(bounded.parse_json(text or ""))  # None: longer than any line
        except (ValueError, TypeError, KeyError):  # TypeError: not an object
            damaged += 1
            continue
        kind = line["kind"] if line["kind"] in most else "other"
        counts[kind] += 1
        if counts[kind] > most[kind]:
            raise bounded.too_long(path, f"{most[kind]:,} lines of kind {kind}")
        lines.append(line)
    return lines, [f"{path} has {damaged} damaged line{'s' * (damaged > 1)}: left out"] * bool(damaged)


def _kept(line: Any) -> Line:
    """Return the entries of a journal's ``line`` that a run writes; raises TypeError or KeyError if it is none."""
    kind = str(line["kind"])[:LONGEST_TEXT]
    return {KNOWN[key]: short(value) for key, value in line.items() if key in KNOWN} | {"kind": KNOWN.get(kind, kind)}


def short(value: Any, inside: bool = False) -> Any:
    """Return a line's ``value`` if it is a number, a text (cut if long) or an object of these, otherwise None."""
    if isinstance(value, float) or value is None:
        return value
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if isinstance(value, int):
        return value if abs(value) < 2**63 else math.inf
    if isinstance(value, dict) and not inside:
        kept = list(value.items())[:MOST_ENTRIES]
        return {KNOWN.get(key, key): short(entry, True) for key, entry in kept if len(key) <= LONGEST_TEXT}
    return None


def counting(lines: list[Line], kind: str) -> list[Line]:
    """Return the ``lines`` of ``kind`` ("step" or "epoch") that led to the run's current state, in order.

    A run that is resumed from an earlier point, or goes back by itself, repeats steps. Then the later lines count, and
    earlier lines about steps or epochs after that point do not.
    """
    found: list[Line] = []
    for line in lines:
        steps = number(line, "steps")
        again, back = line["kind"] == kind, line["kind"] in ("start", "divergence", "back")
        if steps is None or not (again or back):
            continue
        while found and (found[-1]["steps"] > steps or (again and found[-1]["steps"] == steps)):
            found.pop()
        found += [line] * again
    return found


def number(entry: Line, *keys: str) -> float | None:
    """Return the finite number at ``entry[key][key]...``, or None."""
    value: Any = entry
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if good else None


def numbers(entries: list[dict[str, Any]], *keys: str) -> list[float]:
    """Return the number at ``keys`` of every entry; missing ones are NaN, which matplotlib leaves out."""
    found = (number(entry, *keys) for entry in entries)
    return [math.nan if value is None else value for value in found]
