"""Base of the signal handlers of a run (training/signals.py) and of the launcher (launching/signals.py)."""

import signal
import threading
from types import FrameType
from typing import Any, Self

# if ranks received different signals, the first in this order gives the reason for the stop
ENDING = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGXCPU, signal.SIGUSR2, signal.SIGTERM)
# these stay ignored if they are ignored at the start (nohup). A shell also starts a script's background jobs with
# SIGINT and SIGQUIT ignored, but such a signal to a job is always meant.
MAY_BE_IGNORED = (signal.SIGHUP, signal.SIGXCPU)
ECHO = 0.3  # seconds within which a repeated signal counts once: terminal, shell and launcher may all send it


class Handlers:
    """Calls ``note`` for the signals ``numbers`` inside a ``with`` block, then restores the old handlers."""

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
        """Set the handlers; call it again once MPI has started, because one of its libraries (UCX) takes SIGHUP."""
        for number in self._before:
            signal.signal(number, self.note)

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # a library's own, which Python cannot set again
                signal.signal(number, handler)
        self._before.clear()

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle signal ``number``."""
        raise NotImplementedError
