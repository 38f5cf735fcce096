"""The journal: one JSON object per line for every interval of steps and every epoch. Lines are only ever added.

A run that is resumed, or goes back by itself, repeats steps, and their earlier lines stay. The reader decides which
lines count, see ``counting`` in record.py.
"""

import contextlib
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from distlenet import atomic
from distlenet.atomic import Attempts, replacing
from distlenet.bounded import open_regular
from distlenet.runs.record import counting, read_lines, short
from distlenet.training.events import Diverged, EpochDone, Event, Notice, RunFinished, RunStarted, StepDone, warner
from distlenet.training.state import TrainState


def origin() -> dict[str, str]:
    """Return when, where and by which command this process runs; the command only if it is distlenet's own."""
    program, *words = sys.argv or [""]
    own = Path(program).name == "distlenet" or Path(program).parts[-2:] == ("distlenet", "__main__.py")
    facts = {"date": time.strftime("%Y-%m-%d %H:%M"), "host": socket.gethostname()}
    return facts | ({"command": shlex.join(["distlenet", *words])} if own else {})


class Journal:
    """A listener that writes journal.jsonl, each line at once and whole.

    ``every``: steps between two lines of kind "step"; ``facts``: more entries for each line of kind "start". If the
    disk is full, lines are buffered and written once it has room again; one warning is announced. Raises OSError if the
    file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        state: TrainState,
        every: int = 50,
        announce: Callable[[Event], None] = lambda event: None,
        facts: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._path, self._state, self._every, self._facts = path, state, every, facts
        self._attempts = Attempts(warner(announce), "training continues, lines are buffered")
        self._file = self._open()
        size = os.fstat(self._file).st_size
        torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"  # a cut-off last line
        self._waiting = [b"\n"] * torn

    def _open(self) -> int:
        return open_regular(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT)

    def complete(self, history: Sequence[dict[str, Any]]) -> list[str]:
        """Add the epochs of a state's ``history`` from the first missing one on.

        An epoch with other results counts as missing, and the lines of its steps no longer count. Returns a note if
        lines are damaged.
        """
        try:
            lines, damaged = read_lines(self._path, steps=False)
        except OSError:  # longer than the journal of any run: leave it, only append
            return []
        known = {line["epoch"]: line for line in counting(lines, "epoch") if type(line.get("epoch")) is int}

        def agrees(entry: dict[str, Any]) -> bool:
            line = known.get(entry["epoch"], {})
            return line.get("steps") == entry["step"] and line.get("running") == short(entry.get("running"))

        same = next((place for place, entry in enumerate(history) if not agrees(entry)), len(history))
        if any(entry["epoch"] in known and not agrees(entry) for entry in history[same:]):
            self._write("back", {"steps": history[same - 1]["step"] if same else 0})
        for entry in history[same:]:
            self._write("epoch", {"steps": entry["step"], **entry})
        return damaged

    def restore(self) -> None:
        """Write the file again with all its content if somebody has removed it. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._file), os.stat(self._path)):
                return
        with replacing(self._path) as temporary:
            temporary.write_bytes(os.pread(self._file, os.fstat(self._file).st_size, 0))
        os.close(self._file)
        self._file = self._open()

    def on(self, event: Event) -> None:
        """See Listener."""
        match event:
            case StepDone() if self._state.progress.steps % self._every == 0:
                self._write("step", asdict(event))
            case RunStarted():
                self._write("start", {**asdict(event), **origin(), **self._facts})
            case EpochDone():
                self._write("epoch", asdict(event))
            case Diverged():
                record = {"cause" if key == "kind" else key: value for key, value in event.record.items()}
                self._write("divergence", record)
            case Notice():
                self._write("notice", asdict(event))
            case RunFinished():
                self._write("end", {"status": event.summary.get("status")})
                os.close(self._file)

    def _write(self, kind: str, values: dict[str, Any]) -> None:
        line = {"kind": kind, "steps": self._state.progress.steps, **values}
        self._waiting.append((json.dumps(line) + "\n").encode())
        self._attempts.do(self._path, self._write_waiting)

    def _write_waiting(self) -> None:
        while self._waiting:
            atomic.append(self._file, self._waiting[0])
            del self._waiting[0]
