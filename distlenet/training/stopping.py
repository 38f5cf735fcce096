"""Signals: SIGINT, SIGTERM and SIGUSR2 ask the run to save and end, SIGUSR1 to save and go on.

The handlers only take a note; the note of any rank rides in the tail of the next step's reduction (or with
an evaluation's counts), so that all ranks act on it at the same place. They must be set before MPI starts.
"""

import os
import signal
import time
from types import FrameType, TracebackType

from distlenet.errors import DistlenetError

ECHO = 0.3  # seconds within which a second SIGINT is the same key press, delivered by terminal and launcher


class Stopped(DistlenetError):
    """The run was asked to end: all ranks leave at the same place, with everything saved."""

    agreed = True

    def __init__(self, interrupts: float, terminations: float = 0.0) -> None:
        name, number = ("SIGINT", signal.SIGINT) if interrupts else ("SIGTERM", signal.SIGTERM)
        super().__init__(f"stopped by {name}")
        self.exit_code = 128 + number


class Signals:
    """Notes of the signals that came; a context manager that sets the handlers and restores the old ones.

    ``save_seconds``: also ask for a save when that much time has passed since the last one (set on the
    root alone). ``orphans_stop``: losing the parent process, an mpirun that was killed, counts as SIGTERM.
    """

    def __init__(self) -> None:
        self.interrupted = self.terminated = self.save = False
        self.save_seconds: float | None = None
        self.orphans_stop = False
        self._interrupted_at = 0.0
        self._saved_at = time.monotonic()
        self._parent = os.getppid()
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Signals":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
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
            if self.interrupted and time.monotonic() - self._interrupted_at > ECHO:
                os._exit(128 + signal.SIGINT)  # a second Ctrl-C: the user will not wait
            if not self.interrupted:
                self.interrupted, self._interrupted_at = True, time.monotonic()
        else:
            self.terminated = True

    @property
    def stopping(self) -> bool:
        """Whether this process was asked to end."""
        if self.orphans_stop and os.getppid() != self._parent:
            self.terminated = True
        return self.interrupted or self.terminated

    def votes(self) -> dict[str, int]:
        """Return this rank's notes as entries of the tail; a save is asked for once."""
        _ = self.stopping
        save, self.save = self.save, False
        if self.save_seconds and time.monotonic() - self._saved_at >= self.save_seconds:
            save, self._saved_at = True, time.monotonic()
        return {"interrupts": int(self.interrupted), "terminations": int(self.terminated), "saves": int(save)}
