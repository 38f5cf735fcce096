"""Surviving lost ranks: the others take over their shards and repeat the interrupted step.

A rank is lost during some exchange of messages. Its current work is lost, but every survivor still holds the complete
state of its last step. Survivors can be one step apart, if some had received a sum that others still waited for. The
newest state wins; a state that the run went back from counts as older. The reduction tree does not depend on the ranks,
so the repeated step gives the same bits.
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
    """A rank's response when others are lost. ``take_over`` is called once all agree: this rank may be the new root."""

    state: TrainState
    leaves: Leaves
    comm: Communicator
    take_over: Callable[[], None]
    _lost: list[str] = field(default_factory=list)  # losses not yet reported
    _unread: DataError | None = None  # why the survivors cannot read the lost ranks' shards

    def events(self, make: Callable[[], Iterator[Event]]) -> Iterator[Event]:
        """Yield the events of ``make()``; call it again, from the state reached, each time ranks are lost.

        ``make()`` must start with the events of ``resume``.
        """
        while True:
            try:
                yield from make()
                return
            except RanksLost as error:
                self._lost.append(self.recover(error))

    def resume(self) -> Iterator[Event]:
        """Report lost ranks and save. Runs inside the healer, like every save.

        Raises DataError on every rank if the lost ranks' shards cannot be read.
        """
        if self._lost:
            lost, self._lost = self._lost, []
            yield Notice("; ".join(lost), "warning")
            yield from save(self.state, self.comm, "ranks were lost")
        if self._unread:
            raise DataError(str(self._unread)).of_every_rank()

    @phase("recovering from a loss")
    def recover(self, error: RanksLost) -> str:
        """Agree with the other survivors on who is left, on the state and on the shards; returns what happened.

        Raises RanksLost if these survivors must not continue.
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
                except DataError as unread:  # raised by resume(), after saving
                    self._unread = unread
                self.take_over()
                break
            except RanksLost as again:
                error = again
        where = state.progress.upcoming(leaves.plan.steps_per_epoch)
        return f"{gone} of {size} ranks lost in {where}: the remaining {comm.size} repeat it and continue"
