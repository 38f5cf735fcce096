"""Surviving lost ranks: the others take over their shards and repeat the interrupted step. New ranks join likewise.

A rank is lost during some exchange of messages. Its current work is lost, but every survivor still holds the complete
state of its last step. Survivors can be one step apart, if some had received a sum that others still waited for. The
newest state wins; a state that the run went back from counts as older. The reduction tree does not depend on the ranks,
so the repeated step gives the same bits.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from distlenet.activity import phase
from distlenet.data.leaves import Leaves
from distlenet.errors import DataError, RanksLost
from distlenet.parallel import Communicator, owned_shards
from distlenet.parallel.agreement import in_agreement
from distlenet.training.crew import Crew
from distlenet.training.events import Event, Notice
from distlenet.training.loop import save
from distlenet.training.signals import Regroup
from distlenet.training.state import TrainState, broadcast_state


@dataclass
class Survivor:
    """A rank's response when others are lost, join or leave.

    ``take_over`` is called once all agree: this rank may be the new root.
    """

    state: TrainState
    leaves: Leaves
    comm: Communicator
    crew: Crew
    take_over: Callable[[], None]
    _news: list[Notice] = field(default_factory=list)  # changes not yet reported
    _unread: DataError | None = None  # why the ranks cannot read their new shards

    def events(self, make: Callable[[], Iterator[Event]]) -> Iterator[Event]:
        """Yield the events of ``make()``; call it again, from the state reached, each time the ranks change.

        ``make()`` must start with the events of ``resume``.
        """
        change = self.join if self.comm.parent else None
        while True:
            try:
                if change:
                    change()
                change = None
                yield from make()
                return
            except Regroup:
                change = self.regroup
            except RanksLost as error:
                change = None
                self.recover(error)

    def resume(self) -> Iterator[Event]:
        """Report the changes and save. Runs inside the healer, like every save.

        Raises DataError on every rank if the ranks' new shards cannot be read.
        """
        if self._news:
            news, self._news = self._news, []
            yield from news
            yield from save(self.state, self.comm, "the ranks changed")
        if self._unread:
            raise DataError(str(self._unread)).of_every_rank()

    @phase("recovering from a loss")
    def recover(self, error: RanksLost) -> None:
        """Agree with the other survivors on who is left, on the state and on the shards.

        Raises RanksLost if these survivors must not continue.
        """
        comm, size, lost = self.comm, self.comm.size, list[tuple[int, str]]()
        started = time.perf_counter()
        while True:
            if error.agreed:
                raise error
            try:
                hosts = comm.hosts
                lost += [(rank, hosts[rank]) for rank in comm.recover()]
                self._settle()
                break
            except RanksLost as again:
                error = again
        missed = self.crew.lose(lost)
        left = size - comm.size - len(lost)
        if left:
            self._news.append(Notice(self.crew.settle(comm.size + left, started, self.state.progress.steps)))
        if missed:
            self._news.append(Notice(missed, "warning"))
        elif lost or not left:
            where = self.state.progress.upcoming(self.leaves.plan.steps_per_epoch)
            text = f"{len(lost)} of {size} ranks lost in {where}: the remaining {comm.size} repeat it and continue"
            self._news.append(Notice(text, "warning"))

    @phase("changing the number of ranks")
    def regroup(self) -> None:
        """Let a new rank join, and share state and shards with it; or let ranks leave. Raises RanksLost."""
        size, started = self.comm.size, time.perf_counter()
        self.crew.change()
        if self.comm.size != size:
            self._settle()
            text = self.crew.settle(size, started, self.state.progress.steps)
            self.crew.share()
            self._news.append(Notice(text))

    @phase("joining")
    def join(self) -> None:
        """Become one of the ranks of a run, in a process that has prepared. Raises RanksLost."""
        self.crew.join()
        self._settle()
        self.crew.share()
        self._news.append(Notice("this rank has joined"))

    def _settle(self) -> None:
        """Take over the newest state of all ranks, and own this rank's share of the shards."""
        comm, state, leaves = self.comm, self.state, self.leaves
        places = comm.allgather([len(state.progress.divergences), state.progress.epoch, state.progress.step])
        broadcast_state(state, comm, source=places.index(max(places)))
        mine, self._unread = owned_shards(comm.rank, comm.size, leaves.plan.shards), None
        try:
            with in_agreement(comm):
                if list(mine) != leaves.shards:
                    leaves.own(mine)
        except DataError as unread:  # raised by resume(), after saving
            self._unread = unread
        self.take_over()
