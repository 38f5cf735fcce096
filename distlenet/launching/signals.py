"""The signals that ``distlenet launch`` gets, and what becomes of them: they are meant for the job.

SIGUSR1 asks the job to save, all others to save and end; a second SIGINT, SIGTERM or SIGQUIT ends it at once.
SIGTSTP (Ctrl-Z) stops the job and the launcher, SIGCONT (fg) lets both continue.
"""

import os
import signal
import time
from types import FrameType
from typing import Protocol

from distlenet.handlers import ECHO, Handlers
from distlenet.processes import send

FORCING = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)  # sent again by somebody who will not wait


class Recipient(Protocol):
    """A running job, as the signals see it."""

    mark: str  # of its processes
    can_be_stopped: bool  # all of them are on this host

    def pass_on(self, number: int) -> None:
        """Let the ranks know of signal ``number``."""

    def end(self) -> None:
        """Kill the whole job."""


class Requests(Handlers):
    """What the signals ask for."""

    numbers = (*Handlers.numbers, signal.SIGTSTP, signal.SIGCONT)

    def __init__(self) -> None:
        super().__init__()
        self.asked: int | None = None  # the signal that asked the job to end
        self.stopped_seconds = 0.0  # that the launcher and its job stood still, after SIGTSTP
        self.job: Recipient | None = None  # the one that runs now
        self._insisted_at: float | None = None  # when the first of FORCING came
        self._continued = False

    def clock(self) -> float:
        """Return the seconds since some moment in the past, without those in which the job was stopped."""
        return time.monotonic() - self.stopped_seconds

    def pause(self, seconds: float) -> None:
        """Wait so long, or until a signal asks for the end."""
        until = self.clock() + seconds
        while self.asked is None and self.clock() < until:
            time.sleep(0.05)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Do what signal ``number`` asks for."""
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
        """Stop the job and this process, as the shell expects it of Ctrl-Z; return when both continue."""
        if self.job and not self.job.can_be_stopped:
            return  # the ranks of other hosts would take those of this one for lost
        since, self._continued = time.monotonic(), False
        self._send(signal.SIGSTOP)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        time.sleep(0.01)  # let the handler of SIGCONT run
        if not self._continued:  # no shell waits for this process: SIGTSTP alone does not stop it then
            os.kill(os.getpid(), signal.SIGSTOP)
        signal.signal(signal.SIGTSTP, self.note)
        self.stopped_seconds += time.monotonic() - since
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        if self.job and self.job.can_be_stopped:
            send(self.job.mark, number)
