"""The claims of a run's files: checkpoints, journal, summary and settings, and where they contradict each other."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from distlenet.config import Config
from distlenet.errors import CheckpointError, ConfigError
from distlenet.numerics import sha256
from distlenet.recipes import build_config
from distlenet.runs.checkpoint import Checkpoint
from distlenet.runs.checkpoint_file import read_checkpoint
from distlenet.runs.directory import RunDirectory
from distlenet.runs.rank_comparison import OWN_SETTINGS, short
from distlenet.runs.record import Line, counting, read_lines, read_summary
from distlenet.training.state import Snapshot
from distlenet.trust import Trust

Order = tuple[int, int, int]  # divergences, steps, epochs: see Progress.order
TIMES = (
    *("seconds", "exchange_seconds", "load_seconds", "compute_seconds", "evaluation_seconds"),
    *("images_per_second", "exchange_share"),
)


@dataclass(frozen=True)
class Evidence:
    """The content of a run directory; empty on ranks other than the root, which read no files of the run.

    ``checkpoints`` are in the order of the run, their vectors mapped. ``notes`` are sentences about missing and damaged
    files.
    """

    path: Path
    checkpoints: list[Checkpoint] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)  # of the journal
    summary: dict[str, Any] = field(default_factory=dict)  # empty while the run has not ended
    settings: dict[str, Any] | None = None  # of config.toml
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, trust: Trust) -> "Evidence":
        """Read the run directory ``path``; raises CheckpointError, also if a single checkpoint is damaged."""
        directory, lines, notes = RunDirectory(path), list[Line](), list[str]()
        checkpoints = [read_checkpoint(file, trust, mapped=True) for file in directory.saved()]
        if not checkpoints:
            raise CheckpointError(f"{path} has no checkpoint to verify, expected the --run of `distlenet train`")
        try:
            lines, notes = read_lines(directory.journal)
        except OSError as error:
            notes.append(f"cannot read {directory.journal} ({error.strerror}): no journal is judged")
        whole = [line for line in lines if type(line.get("steps")) is int]
        if len(whole) < len(lines):
            notes.append(f"{directory.journal} has lines without a position: left out")
        summary = read_summary(directory.summary, notes)
        written, config = None, path / "config.toml"
        try:
            written = build_config("standard", config).to_dict() if config.exists() else None
        except ConfigError as error:
            notes.append(f"{error}: left out")
        checkpoints.sort(key=lambda checkpoint: checkpoint.progress.order)
        return cls(path, checkpoints, whole, summary, written, notes)

    @property
    def newest(self) -> Checkpoint:
        """The checkpoint that a resumed run would start from."""
        return self.checkpoints[-1]

    @property
    def origin(self) -> dict[str, Any] | None:
        """The ``meta`` of the newest checkpoint, if any."""
        return self.checkpoints[-1].meta if self.checkpoints else None

    @property
    def orders(self) -> list[Order]:
        """The positions of the checkpoints in the order of the run, each once."""
        return sorted({checkpoint.progress.order for checkpoint in self.checkpoints})

    def at(self, order: Order) -> list[Checkpoint]:
        """Return the checkpoints at a position of the run."""
        return [checkpoint for checkpoint in self.checkpoints if checkpoint.progress.order == order]

    @property
    def starts(self) -> list[Line]:
        """The lines of the journal about the starts that led to the current state, in order."""
        return counting(self.lines, "start")

    @property
    def end(self) -> Order:
        """The position that the summary tells of; that before the first step without a summary."""
        gone_back, steps, epochs = (self.summary.get(name) for name in ("divergences", "steps", "epochs"))
        if type(gone_back) is list and type(steps) is type(epochs) is int:
            return len(gone_back), steps, epochs
        return 0, 0, 0

    def contradictions(self) -> Iterator[str]:
        """Yield a phrase for each contradiction between two files, or between a file and its name."""
        if not self.checkpoints:
            return
        yield from self._names()
        for checkpoint in self.checkpoints:
            yield from labelled(checkpoint.path.name, self._history(checkpoint))
        for order in self.orders:
            first, *others = self.at(order)
            for other in others:
                yield from labelled(other.path.name, differences(other, moments(first), f"than in {first.path.name}"))
        yield from labelled("journal.jsonl", self._journal())
        starts = [start["settings"] for start in self.starts[-1:] if "settings" in start]
        if self.settings and self.settings not in starts:
            yield from labelled("config.toml", unlike(settings(self.settings), settings(self.newest.meta["config"])))

    def _names(self) -> Iterator[str]:
        by_name = {checkpoint.path.name: checkpoint for checkpoint in self.checkpoints}
        newest, last = self.newest, [name for name in by_name if name.startswith("last")]
        for name, checkpoint in by_name.items():
            progress = checkpoint.progress
            number = re.fullmatch(r"epoch-(\d+)\.h5", name)
            if number and (progress.epoch, progress.step) != (int(number[1]), 0):
                yield f"{name} is of {progress.position}"
        last.sort(key=lambda name: int(re.sub(r"\D", "", name.removesuffix(".h5")) or 0))
        for younger, older in pairwise(last):
            if by_name[younger].progress.order < by_name[older].progress.order:
                yield f"{younger} is older than {older}"
        best, epoch = by_name.get("best.h5"), newest.progress.best_epoch
        if best and (epoch is None or (best.progress.epoch, best.progress.step) != (epoch + 1, 0)):
            chosen = "none" if epoch is None else f"epoch {epoch + 1}"
            yield f"best.h5 is of {best.progress.position}, but the best epoch is {chosen}"
        elif best and not (newest.best_theta is not None and equal(best.averaged, newest.best_theta)):
            yield f"best.h5 has other parameters than {newest.path.name} has for the best epoch"

    def _history(self, checkpoint: Checkpoint) -> Iterator[str]:
        """Compare the history of a checkpoint with its position, its parameters and the newest checkpoint."""
        progress, latest = checkpoint.progress, self.newest.progress
        if [entry["epoch"] for entry in progress.history] != list(range(progress.epoch)):
            yield f"its history has {len(progress.history)} epochs, expected {progress.epoch}"
        elif progress.step == 0 and progress.history:
            claimed = progress.history[-1].get("theta_sha256")
            if claimed and claimed != sha256(checkpoint.theta):
                yield "its parameters are not those of the last epoch in its history"
        if len(progress.divergences) == len(latest.divergences):
            yield from unlike(progress.history, latest.history[: progress.epoch], "history")
        yield from unlike(same(checkpoint.meta["dataset"]), same(self.newest.meta["dataset"]), "dataset")
        yield from unlike(checkpoint.meta["code"], self.newest.meta["code"], "code")

    def _journal(self) -> Iterator[str]:
        """Compare the journal's epochs with the history of the newest checkpoint, and its end with the summary."""
        if not self.lines:
            return
        progress, lines = self.newest.progress, {line.get("epoch"): line for line in counting(self.lines, "epoch")}
        # killed after a divergence, before the next save: the epochs that it went back from no longer count
        went_back = sum(line["kind"] == "divergence" for line in self.lines) > len(progress.divergences)
        for entry in progress.history:
            line = lines.pop(entry["epoch"], None)
            if line is None and not went_back:
                yield f"epoch {entry['epoch'] + 1} is missing"
            elif line is not None:
                yield from unlike(bare(line), entry, f"epoch {entry['epoch'] + 1}")
        if lines and self.summary.get("status") == "complete":
            yield f"it has {len(lines)} epochs more than the newest checkpoint"
        ends = [line for line in self.lines if line["kind"] in ("start", "end")][-1:]
        if ends and ends[0]["kind"] == "end" and self.summary:
            yield from unlike(ends[0].get("status"), self.summary.get("status"), "the status")


def differences(found: Checkpoint, expected: Sequence[Snapshot], than: str = "than recomputed") -> Iterator[str]:
    """Yield a phrase for each difference between a checkpoint and the ``expected`` state, and the one to go back to.

    Vectors are compared bit by bit. Times and speeds do not count.
    """
    own = moments(found)
    if len(own) != len(expected):
        yield f"its state to go back to is another one {than}"
    for prefix, mine, other in zip(("", "good/"), own, expected, strict=False):
        for name in sorted(mine.vectors.keys() | other.vectors.keys()):
            one, two = mine.vectors.get(name), other.vectors.get(name)
            if one is None or two is None or not equal(one, two):
                yield f"/{prefix}{name} has other bits {than}"
        yield from unlike(same(asdict(mine.progress)), same(asdict(other.progress)), prefix.rstrip("/"))


def moments(checkpoint: Checkpoint) -> list[Snapshot]:
    """Return the state of ``checkpoint``, and the one to go back to if it differs: see TrainState.moments."""
    return [moment for moment in (checkpoint.now, checkpoint.good) if moment]


def equal(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether two float32 vectors have the same bits."""
    return one.shape == two.shape and np.array_equal(one.view(np.uint32), two.view(np.uint32))


def unlike(found: Any, expected: Any, what: str = "") -> Iterator[str]:
    """Yield a phrase for each difference between two JSON values: "epoch 2 validation accuracy is 0.9, expected 0.8".

    Times and speeds do not count, nor a hash that an older version did not write.
    """
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in dict.fromkeys([*expected, *found]):
            if key not in TIMES and not (key == "theta_sha256" and not found.get(key)):
                yield from unlike(found.get(key), expected.get(key), f"{what} {key}".strip())
    elif isinstance(found, list) and isinstance(expected, list):
        if len(found) != len(expected):
            yield f"{what} has {len(found)} entries, expected {len(expected)}"
        for place, pair in enumerate(zip(found, expected, strict=False), 1):
            yield from unlike(*pair, f"{what} {place}")
    elif found != expected and not (is_nan(found) and is_nan(expected)):
        yield f"{what} is {short(found)}, expected {short(expected)}"


def is_nan(value: Any) -> bool:
    """Whether ``value`` is not a number: the loss of a run that diverges may be."""
    return isinstance(value, float) and isnan(value)


def same(value: dict[str, Any]) -> dict[str, Any]:
    """Return facts as JSON gives them back, without the settings that change no result."""
    return {key: entry for key, entry in json.loads(json.dumps(value)).items() if key not in OWN_SETTINGS}


def settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings that change a result, those that an older version did not have by their defaults."""
    return same({**Config().to_dict(), **values})


def bare(line: Line) -> Line:
    """Return the event of a journal's line."""
    return {key: value for key, value in line.items() if key not in ("kind", "steps")}


def labelled(name: str, phrases: Iterable[str]) -> Iterator[str]:
    """Yield the ``phrases`` with the ``name`` of their file."""
    return (f"{name}: {phrase}" for phrase in phrases)
