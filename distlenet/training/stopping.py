"""Signals: SIGINT and SIGTERM ask the run to save and end, SIGUSR1 to save and go on.

The handlers only take a note; the note of any rank rides in the tail of the next step's reduction, so
that all ranks see it at the same step. They must be set before MPI starts.
"""

import os
import signal
from types import FrameType, TracebackType


class Signals:
    """Notes of the signals that came; a context manager that sets the handlers and restores the old ones."""

    def __init__(self) -> None:
        self.interrupted = self.terminated = self.save = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Signals":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self.save = True
        elif number == signal.SIGINT:
            if self.interrupted:  # a second Ctrl-C: the user will not wait
                os._exit(128 + signal.SIGINT)
            self.interrupted = True
        else:
            self.terminated = True

    def votes(self) -> dict[str, int]:
        """Return this rank's notes as entries of the tail; a save is asked for once."""
        save, self.save = self.save, False
        return {"interrupts": int(self.interrupted), "terminations": int(self.terminated), "saves": int(save)}
