"""The journal: one JSON object a line, for every interval of steps and every epoch."""

import contextlib
import errno
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distlenet import bounded
from distlenet.data.atomic import replacing, why_not_written
from distlenet.data.regular import open_regular
from distlenet.training.events import Diverged, EpochDone, Event, Notice, RunFinished, RunStarted, StepDone
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
        kept, damaged = [], 0
        cut_short = False
        for line in bounded.lines(source) if source.exists() else ():
            damaged += cut_short
            cut_short = False
            try:
                entry = bounded.parse_json(line)
                later = entry["steps"] > steps or (entry["kind"] == "epoch" and entry["epoch"] >= epochs)
            except (ValueError, KeyError, TypeError):
                cut_short = True
                continue
            if not later:
                kept.append(entry)
        with replacing(path, follow_links=False) as temporary:
            kept = agreeing(kept, history)
            temporary.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")
        return damaged

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

        The root was lost before it could write them, or was a step behind. At most the latest step is missing,
        and the end of an epoch.
        """
        lines = list(map(json.loads, self._path.read_text(encoding="utf-8").splitlines()))
        self._steps = state.steps
        step, there = state.latest, {line["steps"] for line in lines if line["kind"] == "step"}
        if step and self._steps % self._every == 0 and self._steps not in there:
            self._write("step", asdict(step))
        there = {line["epoch"] for line in lines if line["kind"] == "epoch"}
        for entry in state.history:
            if entry["epoch"] not in there:
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


def agreeing(lines: list[dict[str, Any]], history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the journal's ``lines`` with one of every epoch of ``history``, each in its place.

    Where a line of an epoch tells of another course that the run took, it goes, and those of its steps with it.
    """
    begun = 0  # the steps before the epoch
    for entry in history:
        found = [line for line in lines if line["kind"] == "epoch" and line["epoch"] == entry["epoch"]]
        if not any(line["steps"] == entry["step"] and line.get("running") == entry.get("running") for line in found):
            if found:
                lines = [line for line in lines if line["kind"] not in ("step", "epoch") or line["steps"] <= begun]
            place = next((place for place, line in enumerate(lines) if line["steps"] > entry["step"]), len(lines))
            lines = [*lines[:place], {"kind": "epoch", "steps": entry["step"], **entry}, *lines[place:]]
        begun = entry["step"]
    return lines
