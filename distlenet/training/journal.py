"""The journal: one JSON object a line, for every interval of steps and every epoch."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distlenet.data.atomic import replacing
from distlenet.training.events import EpochDone, Event, Notice, RunFinished, RunStarted, StepDone


class Journal:
    """A listener that writes journal.jsonl, each line at once.

    ``every``: steps between two lines of kind "step". A run that is resumed calls ``cut`` first, so that
    no line stands twice.
    """

    def __init__(self, path: Path, every: int = 50, start: int = 0) -> None:
        self._path, self._every = path, every
        self._steps = start
        self._file = path.open("a", encoding="utf-8")

    @staticmethod
    def cut(path: Path, steps: int) -> None:
        """Drop the lines written after step ``steps`` of the run, and a last line that was cut short."""
        if not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                if json.loads(line).get("steps", 0) <= steps:
                    kept.append(line + "\n")
            except (json.JSONDecodeError, AttributeError):
                continue
        with replacing(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")

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
        elif isinstance(event, Notice):
            self._write("notice", asdict(event))
        elif isinstance(event, RunFinished):
            self._write("end", {"status": event.summary.get("status")})
            self._file.close()

    def _write(self, kind: str, values: dict[str, Any]) -> None:
        self._file.write(json.dumps({"kind": kind, "steps": self._steps, **values}) + "\n")
        self._file.flush()
