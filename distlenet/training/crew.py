"""The crew: the ranks of a run, and the new ones that join it while it trains.

A lost rank is replaced, and the user may ask for more or fewer ranks. The root looks after every step how many there
should be. It starts a new process, which prepares next to the training; once that is ready, the root votes in the tail
of a step, so all ranks change their number at the same position. The newcomer gets the state by broadcast. The
reduction tree does not depend on the number of ranks, so the bits stay the same.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from distlenet.handshake import wanted_ranks
from distlenet.parallel import Communicator
from distlenet.parallel.communicator import Recruit, Resizable
from distlenet.training.events import Event, Notice, StepDone
from distlenet.training.signals import Signals

PERIOD = 0.1  # seconds between two looks
TRIES = 3  # processes that may fail to start before the root gives up, until the next change

Judge = Callable[[dict[str, Any]], str | None]


class Crew:
    """The number of ranks, as far as it can change: at most ``most``.

    ``welcome`` and ``judge`` are handed to new processes, see ``Resizable.recruit``; ``patience``: seconds that one may
    take to become ready, 0: no limit. ``changes`` is for the summary.
    """

    def __init__(
        self, comm: Communicator, most: int, signals: Signals, welcome: Any, judge: Judge, patience: float
    ) -> None:
        self._comm, self._most, self._signals = cast(Resizable, comm), most, signals
        self._welcome, self._judge, self._patience = welcome, judge, patience
        self.changes: list[dict[str, Any]] = []
        self._vacant: list[tuple[int, str]] = []  # lost ranks that are not replaced yet, and their hosts
        self._recruit: Recruit | None = None
        self._tries, self._looked, self._request = 0, 0.0, wanted_ranks()
        self._wanted, self._joining = comm.size, False

    def follow(self, events: Iterator[Event]) -> Iterator[Event]:
        """Yield ``events``; on the root, look after each step whether the number of ranks should change."""
        if not self._comm.is_root or wanted_ranks() is None:
            return (yield from events)
        for event in events:
            yield event
            if isinstance(event, StepDone) and time.monotonic() > self._looked + PERIOD:
                self._looked = time.monotonic()
                yield from self._look()

    def _look(self) -> Iterator[Event]:
        request, recruit = wanted_ranks() or (self._comm.size, 0), self._recruit
        self._wanted = wanted = min(request[0], self._most)
        if request != self._request:
            self._request, self._tries = request, 0
        if recruit is not None:
            recruit.look()
            if wanted <= self._comm.size:
                recruit.dismiss()
                self._recruit = None
            elif recruit.refusal:
                self._recruit, self._tries = None, TRIES if recruit.final else self._tries + 1
                if self._tries == TRIES:
                    on = f" on {recruit.host}" if recruit.host else ""
                    yield Notice(self._without(f"the new rank{on} cannot join: {recruit.refusal}"), "warning")
        elif wanted > self._comm.size and self._tries < TRIES:
            host = self._vacant[0][1] if self._vacant and len(set(self._comm.hosts)) > 1 else None
            self._recruit = self._comm.recruit(host, self._welcome, self._judge, self._patience)
        self._signals.regroup = wanted < self._comm.size or bool(self._recruit and self._recruit.ready)

    @property
    def ranks(self) -> str:
        """The number of ranks in words."""
        return f"{self._comm.size} rank{'s' if self._comm.size > 1 else ''}"

    def lose(self, lost: list[tuple[int, str]]) -> str | None:
        """Note that ranks, given with their hosts, were lost; if only a new one was, return that in words."""
        joining, self._joining = self._joining, False
        self._vacant += lost
        self._signals.regroup = False
        if lost or not joining:
            self._tries = 0
            return None
        self._tries += 1
        return self._without("a new rank was lost while it joined")

    def change(self) -> None:
        """Let a new rank join, or the last ranks leave; all ranks call this. Raises RanksLost."""
        comm, recruit = self._comm, self._recruit
        self._signals.regroup, self._recruit = False, None
        self._wanted = wanted = comm.broadcast(self._wanted)
        if wanted > comm.size:
            self._joining = True
            comm.grow(recruit)
            self._joining, self._tries = False, 0
        elif wanted < comm.size:
            comm.shrink(wanted)

    def _without(self, reason: str) -> str:
        """Return in words that the run continues without a new rank."""
        again = f"; `distlenet resize RUN {self._wanted}` tries again" if self._tries >= TRIES else ""
        return f"{reason}; the run continues with {self.ranks}{again}"

    def settle(self, before: int, started: float, steps: int) -> str:
        """Note a change from ``before`` ranks that began at the time ``started``; returns it in words."""
        size, vacant = self._comm.size, self._vacant
        change: dict[str, Any] = {"steps": steps, "ranks": size}
        if size > before and vacant:
            rank, host = vacant.pop(0)
            what = f"rank {rank} on {host} was replaced: {self.ranks}{' again' * (not vacant)}"
            change |= {"replaced": rank, "host": host}
        elif size > before:
            what = f"a new rank on {self._comm.hosts[-1]}: {self.ranks} now"
        else:
            vacant.clear()
            gone = before - size
            what = f"{gone} rank{'s' if gone > 1 else ''} left: {self.ranks} now"
        seconds = time.perf_counter() - started
        self.changes.append(change | {"seconds": round(seconds, 3)})
        return f"{what} (paused for {seconds:.2f} s)"

    def share(self) -> None:
        """Give all ranks what the root knows: any of them may become the root."""
        self._vacant, self.changes = self._comm.broadcast([self._vacant, self.changes])

    def join(self) -> None:
        """Become one of the ranks, in a process that has prepared."""
        self._comm.join()

    def disband(self) -> None:
        """End the process that was to join: the run is over."""
        if self._recruit:
            self._recruit.dismiss()
