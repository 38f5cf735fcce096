"""Going on when ranks are lost: the survivors take over their shards and repeat the interrupted step.

A rank is lost in the middle of some communication. What it was working on is lost with it, but every
survivor still holds the whole state as of its last complete step. Survivors can be one step apart, when
some had already heard the sum that others still waited for: the newest state wins; one that was gone back
from, after the run had diverged, is older. Since the tree of additions does not know the ranks, the repeated
step gives the bits that it would have given.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from distlenet.activity import phase
from distlenet.data.leaves import Leaves
from distlenet.errors import DataError, RanksLost
from distlenet.parallel import Communicator, owned_shards
from distlenet.parallel.agreement import in_agreement
from distlenet.training.events import Event, Notice
from distlenet.training.loop import save
from distlenet.training.state import TrainState, broadcast_state


@dataclass
class Survivor:
    """What a rank does when others are lost. ``take_over`` is called when all are agreed: one may be the root now."""

    state: TrainState
    leaves: Leaves
    comm: Communicator
    take_over: Callable[[], None]
    _lost: list[str] = field(default_factory=list)  # losses that are not yet reported
    _unread: DataError | None = None  # the survivors cannot read the shards of the lost

    def events(self, make: Callable[[], Iterator[Event]]) -> Iterator[Event]:
        """Yield the events of ``make()``, made again from the state reached, as often as ranks are lost.

        What ``make`` makes begins with ``resume``.
        """
        while True:
            try:
                yield from make()
                return
            except RanksLost as error:
                self._lost.append(self.recover(error))

    def resume(self) -> Iterator[Event]:
        """Report ranks that were lost and save; a part of the course that can be healed, as every save is.

        Raises DataError, on every rank, if the shards of the lost ones cannot be read.
        """
        if self._lost:
            lost, self._lost = self._lost, []
            yield Notice("; ".join(lost), "warning")
            yield from save(self.state, self.comm, "ranks were lost")
        if self._unread:
            raise DataError(str(self._unread)).of_every_rank()

    @phase("recovering from a loss")
    def recover(self, error: RanksLost) -> str:
        """Agree with the other survivors on who is left, on the state, and on the shards; says what happened.

        Raises RanksLost where this side must not go on.
        """
        comm, state, leaves = self.comm, self.state, self.leaves
        size, gone = comm.size, 0
        while True:
            if error.agreed:
                raise error
            try:
                gone += len(comm.recover())
                places = comm.allgather([len(state.progress.divergences), state.progress.epoch, state.progress.step])
                broadcast_state(state, comm, source=places.index(max(places)))
                mine, self._unread = owned_shards(comm.rank, comm.size, leaves.plan.shards), None
                try:
                    with in_agreement(comm):
                        if list(mine) != leaves.shards:
                            leaves.own(mine)
                except DataError as unread:  # first save what there is
                    self._unread = unread
                self.take_over()
                break
            except RanksLost as again:
                error = again
        return (
            f"{gone} of {size} ranks lost in {state.progress.coming}: going on with {comm.size}, the step is repeated"
        )
