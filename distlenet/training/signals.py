"""Signals during training: SIGUSR1 saves and continues, those in ENDING save and end the run.

The handlers only note the signal. Each rank's notes travel in the tail of the next step's reduction, or with an
evaluation's counts, so that all ranks act at the same step. The handlers must be set before MPI starts.
"""

import os
import signal
import time
from collections.abc import Mapping
from types import FrameType

from distlenet.errors import Stopped
from distlenet.handlers import ECHO, ENDING, Handlers
from distlenet.handshake import asked_by_launcher
from distlenet.parallel.orphan import launcher_is_gone

STOPS = tuple(number.name for number in ENDING)  # entries of the tail


class Regroup(Exception):
    """Ends the loop between two steps on every rank, because the number of ranks is about to change."""


def obey(votes: Mapping[str, float]) -> None:
    """Raise Stopped if any rank voted to end, Regroup if the root voted to change the number of ranks.

    ``votes`` are summed over the ranks, so every rank raises.
    """
    for number in ENDING:
        if votes[number.name]:
            raise Stopped(number)
    if votes.get("regroups"):
        raise Regroup


class Signals(Handlers):
    """Notes of the signals received.

    ``save_seconds``: also request a save whenever that much time has passed (set only on the root). The death of the
    launcher counts as SIGTERM.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stop: int | None = None  # the first signal that asked this process to end
        self.save = False
        self.save_seconds: float | None = None
        self.regroup = False  # whether the number of ranks should change; set only on the root
        self._interrupted_at: float | None = None
        self._saved_at = time.monotonic()

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember what signal ``number`` asks for."""
        if number == signal.SIGUSR1:
            self.save = True
            return
        if number == signal.SIGINT:
            if self._interrupted_at is None:
                self._interrupted_at = time.monotonic()
            elif time.monotonic() - self._interrupted_at > ECHO:
                self.insist()
        self.ask_to_stop(asked_by_launcher() or number)

    def insist(self) -> None:
        """End at once: after a second Ctrl-C the user does not want to wait."""
        os._exit(128 + signal.SIGINT)

    def ask_to_stop(self, number: int = signal.SIGINT) -> None:
        """Note that the run must end, as if signal ``number`` had been received."""
        self.stop = self.stop or number

    @property
    def stopping(self) -> bool:
        """Whether this process was asked to end."""
        if launcher_is_gone():
            self.ask_to_stop(signal.SIGTERM)
        return self.stop is not None

    def stops(self) -> dict[str, int]:
        """Return this rank's vote to end as entries of the tail."""
        return {number.name: int(self.stopping and number == self.stop) for number in ENDING}

    def votes(self) -> dict[str, int]:
        """Return this rank's notes as entries of the tail; each save request is returned once."""
        save, self.save = self.save, False
        if self.save_seconds and time.monotonic() - self._saved_at >= self.save_seconds:
            save, self._saved_at = True, time.monotonic()
        return {"saves": int(save), "regroups": int(self.regroup), **self.stops()}
