"""Handlers of signals: of a run, see training/signals.py, and of the launcher, see launching/signals.py."""

import signal
import threading
from types import FrameType
from typing import Any, Self

# the first of these names the stop where ranks got different ones
ENDING = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGXCPU, signal.SIGUSR2, signal.SIGTERM)
# these stay ignored where they are at the start (nohup). A shell starts background jobs of scripts with SIGINT and
# SIGQUIT ignored as well, but whoever sends one to such a job means it.
MAY_BE_IGNORED = (signal.SIGHUP, signal.SIGXCPU)
ECHO = 0.3  # seconds within which a signal that comes again is the same one: of terminal, shell, launcher, scheduler


class Handlers:
    """Has ``note`` called for the signals ``numbers`` while a ``with`` block lasts; the old handlers are restored."""

    numbers: tuple[int, ...] = (*ENDING, signal.SIGUSR1)

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}  # the old handlers, as the signal module gives them

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self  # Python lets the main thread alone set handlers: in another one, no signal is noted
        for number in self.numbers:
            if number not in MAY_BE_IGNORED or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.getsignal(number)
        self.listen()
        return self

    def listen(self) -> None:
        """Set the handlers, again once MPI has started: a library of its own takes SIGHUP for itself (UCX)."""
        for number in self._before:
            signal.signal(number, self.note)

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def note(self, number: int, frame: FrameType | None) -> None:
        """Signal ``number`` has come."""
        raise NotImplementedError
