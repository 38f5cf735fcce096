"""The signals that ``distlenet launch`` receives and forwards to its job.

SIGUSR1 asks the job to save, all others to save and end; a second SIGINT, SIGTERM or SIGQUIT ends it at once.
SIGTSTP (Ctrl-Z) stops the job and the launcher, and SIGCONT (fg) lets both continue.
"""

import os
import signal
import time
from types import FrameType
from typing import Protocol

from distlenet.handlers import ECHO, Handlers
from distlenet.processes import send

FORCING = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)  # a second one of these ends the job at once


class Recipient(Protocol):
    """A running job that signals are sent to."""

    mark: str  # environment entry of its processes
    can_be_stopped: bool  # whether all its processes are on this host

    def pass_on(self, number: int) -> None:
        """Forward signal ``number`` to the ranks."""

    def end(self) -> None:
        """Kill the whole job."""


class Requests(Handlers):
    """The requests that signals have made."""

    numbers = (*Handlers.numbers, signal.SIGTSTP, signal.SIGCONT)

    def __init__(self) -> None:
        super().__init__()
        self.asked: int | None = None  # the signal that asked the job to end
        self.stopped_seconds = 0.0  # total time that the launcher and its job were stopped by SIGTSTP
        self.job: Recipient | None = None  # the running job
        self._insisted_at: float | None = None  # when the first of FORCING came
        self._continued = False

    def clock(self) -> float:
        """Return the seconds since an arbitrary start, without the time in which the job was stopped."""
        return time.monotonic() - self.stopped_seconds

    def pause(self, seconds: float) -> None:
        """Wait for ``seconds``, or until a signal asks the job to end."""
        until = self.clock() + seconds
        while self.asked is None and self.clock() < until:
            time.sleep(0.05)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle signal ``number``."""
        if number == signal.SIGTSTP:
            self._stop()
        elif number == signal.SIGCONT:
            self._continued = True
            self._send(signal.SIGCONT)
        elif number == signal.SIGUSR1:
            if self.job:
                self.job.pass_on(number)
        else:
            self._ask_to_end(number)

    def _ask_to_end(self, number: int) -> None:
        if self.asked is None:
            self.asked = number
            if self.job:
                self.job.pass_on(number)
        if number in FORCING:
            if self._insisted_at is None:
                self._insisted_at = time.monotonic()
            elif self.job and time.monotonic() - self._insisted_at > ECHO:
                self.job.end()

    def _stop(self) -> None:
        """Stop the job and this process, as a shell expects on Ctrl-Z; return when both continue."""
        if self.job and not self.job.can_be_stopped:
            return  # ranks on other hosts would count the stopped ones as lost
        since, self._continued = time.monotonic(), False
        self._send(signal.SIGSTOP)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        time.sleep(0.01)  # let the handler of SIGCONT run
        if not self._continued:  # without a shell that waits for this process, SIGTSTP alone does not stop it
            os.kill(os.getpid(), signal.SIGSTOP)
        signal.signal(signal.SIGTSTP, self.note)
        self.stopped_seconds += time.monotonic() - since
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        if self.job and self.job.can_be_stopped:
            send(self.job.mark, number)
