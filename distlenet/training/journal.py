"""The journal: one JSON object a line, for every interval of steps and every epoch."""

import contextlib
import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distlenet import bounded
from distlenet.atomic import replacing, why_not_written
from distlenet.bounded import open_regular
from distlenet.training.events import Diverged, EpochDone, Event, Notice, RunFinished, RunStarted, StepDone
from distlenet.training.logbook import short
from distlenet.training.state import TrainState


class Journal:
    """A listener that writes journal.jsonl, each line at once and whole.

    ``every``: steps between two lines of kind "step". ``start``: steps of the run already taken; a run that
    is resumed calls ``cut`` first, so that no line stands twice. Lines that a full disk refuses are kept
    and written when it has room again; ``announce`` is told once.
    """

    def __init__(
        self, path: Path, every: int = 50, start: int = 0, announce: Callable[[Event], None] = lambda event: None
    ) -> None:
        self._path, self._every, self._steps, self._announce = path, every, start, announce
        self._waiting: list[bytes] = []
        self._failing = False
        self._file = self._open()

    @staticmethod
    def cut(
        path: Path, steps: int, epochs: int, history: Sequence[dict[str, Any]] = (), source: Path | None = None
    ) -> int:
        """Drop what was written after step ``steps`` of the run or of epochs from ``epochs`` (0-based) on, and
        lines that are damaged; returns the number of those, not counting a last line that was cut short.

        ``history``: the checkpoint's entries of complete epochs; the journal will have a line of each. ``source``: the
        journal that is cut, where that is another run directory's; it stays as it is. Raises OSError.
        """
        source = source or path
        if not (source.exists() or history):
            return 0
        cutting = Cutting(source, steps, epochs)
        with replacing(path, follow_links=False) as temporary, temporary.open("wb") as file:
            try:
                kept = agreeing(list(cutting.entries(bounded.MOST_LINES)), history) if history else cutting.entries()
            except OSError as error:
                if error.errno != errno.EFBIG:
                    raise
                kept = cutting.entries()  # too long to be compared with the history: line by line
            for entry in kept:
                text = entry.get("text")  # bytes only of a line that was read
                file.write((text if isinstance(text, bytes) else json.dumps(entry).encode()) + b"\n")
        return cutting.damaged

    def restore(self) -> None:
        """Write the file anew, with all it held, if somebody has removed it. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._file), os.stat(self._path)):
                return
        with replacing(self._path, follow_links=False) as temporary:
            temporary.write_bytes(os.pread(self._file, os.fstat(self._file).st_size, 0))
        os.close(self._file)
        self._file = self._open()

    def _open(self) -> int:
        return open_regular(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT)

    def catch_up(self, state: TrainState) -> None:
        """Write the lines that the file lacks of what led to ``state``, which came from another rank.

        The root was lost before it could write them, or was a step behind: the end of an epoch may be missing.
        """
        self._steps = state.progress.steps
        epochs = {entry.get("epoch") for entry in Cutting(self._path, self._steps, sys.maxsize).entries()}
        for entry in state.progress.history:
            if entry["epoch"] not in epochs:
                self._write("epoch", entry | {"steps": entry["step"]})

    def on(self, event: Event) -> None:
        """See Listener."""
        if isinstance(event, StepDone):
            self._steps += 1
            if self._steps % self._every == 0:
                self._write("step", asdict(event))
        elif isinstance(event, RunStarted):
            self._write("start", asdict(event))
        elif isinstance(event, EpochDone):
            self._write("epoch", asdict(event))
        elif isinstance(event, Diverged):
            if event.back_to:
                self._go_back(*event.back_to)
            self._write("divergence", event.record)
        elif isinstance(event, Notice):
            self._write("notice", asdict(event))
        elif isinstance(event, RunFinished):
            self._write("end", {"status": event.summary.get("status")})
            os.close(self._file)

    def _go_back(self, steps: int, epochs: int) -> None:
        """Drop what was written since: the journal tells of the run that counts, once."""
        self._steps = steps
        try:
            self.cut(self._path, steps, epochs)
        except OSError as error:
            text = f"cannot write {self._path}: {why_not_written(error)}; steps that were gone back from stay in it"
            self._announce(Notice(text, "warning"))
        else:
            os.close(self._file)
            self._file = self._open()

    def _write(self, kind: str, values: dict[str, Any]) -> None:
        self._waiting.append((json.dumps({"kind": kind, "steps": self._steps, **values}) + "\n").encode())
        try:
            while self._waiting:
                self._append(self._waiting[0])
                del self._waiting[0]
            self._failing = False
        except OSError as error:
            if not self._failing:
                self._failing = True
                text = f"cannot write {self._path}: {why_not_written(error)}; the run goes on, the lines wait"
                self._announce(Notice(text, "warning"))

    def _append(self, line: bytes) -> None:
        """Write ``line`` whole or not at all."""
        size = os.fstat(self._file).st_size
        if os.write(self._file, line) < len(line):
            os.ftruncate(self._file, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Cutting:
    """The lines of the journal ``source`` up to step ``steps`` and before epoch ``epochs``, read one by one.

    ``damaged`` counts the others that are no lines of a journal, not a last one that was cut short.
    """

    def __init__(self, source: Path, steps: int, epochs: int) -> None:
        self._source, self._steps, self._epochs = source, steps, epochs
        self.damaged = 0

    def entries(self, most: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield of each line its ``text`` (bytes), kind and steps, and of an epoch's what it is compared by.

        Raises OSError, also where there are more than ``most`` lines.
        """
        self.damaged, cut_short = 0, False
        if not self._source.exists():
            return
        for text in bounded.lines(self._source, most=most):
            self.damaged += cut_short
            cut_short = False
            try:
                line = bounded.parse_json(text)
                kind = "step" if line["kind"] == "step" else "epoch" if line["kind"] == "epoch" else ""
                entry = {"kind": kind, "steps": line["steps"], "text": text.encode()}
                if kind == "epoch":
                    entry |= {"epoch": int(line["epoch"]), "running": short(line.get("running"))}
                later = entry["steps"] > self._steps or entry.get("epoch", -1) >= self._epochs
            except (ValueError, KeyError, TypeError, OverflowError):
                cut_short = True
                continue
            if not later:
                yield entry


def agreeing(lines: list[dict[str, Any]], history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the journal's ``lines`` with one of every epoch of ``history``, each in its place.

    Where a line of an epoch tells of another course that the run took, it goes, and those of its steps with it.
    """
    by_epoch: dict[int, list[dict[str, Any]]] = {}
    for line in lines:
        if line["kind"] == "epoch":
            by_epoch.setdefault(line["epoch"], []).append(line)
    missing: list[dict[str, Any]] = []
    begun = 0  # the steps before the epoch
    for entry in history:
        found = by_epoch.get(entry["epoch"], [])
        if not any(line["steps"] == entry["step"] and line["running"] == short(entry.get("running")) for line in found):
            if found:
                lines = [line for line in lines if line["kind"] not in ("step", "epoch") or line["steps"] <= begun]
                by_epoch = {}
            missing.append({"kind": "epoch", "steps": entry["step"], **entry})
        begun = entry["step"]
    merged: list[dict[str, Any]] = []
    place = 0
    for line in lines:
        while place < len(missing) and missing[place]["steps"] < line["steps"]:
            merged.append(missing[place])
            place += 1
        merged.append(line)
    return merged + missing[place:]
