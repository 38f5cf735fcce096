"""Runs that heal: one that diverges goes back to its last good state and on from there at a lower rate.

All ranks notice at the same step, since they judge by the same reduced numbers, and each goes back by itself.
The batches come in the same order as before: a function of seed and position. It is not the order that is at
fault but steps that are too long for it, and shorter ones lead elsewhere from the first one on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from distlenet.data.leaves import Leaves
from distlenet.errors import DistlenetError, DivergedError, NonFiniteError
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import in_agreement
from distlenet.training import loss_watch
from distlenet.training.events import Diverged, Event, Notice, RunStarted, StepDone
from distlenet.training.loop import save
from distlenet.training.non_finite import explain_spoiled
from distlenet.training.postmortem import Recorder, Report, examine
from distlenet.training.state import TrainState

FACTOR = 0.5  # of the rate, each time
STOPPED = "stopped"  # the action of the record of a divergence that ends the run


@dataclass(frozen=True)
class Healer:
    """What the ranks do together when the run diverges.

    ``limits``: "heal", "stop" or "ignore", and how often at most. ``restarted`` makes the event of a run that goes on.
    """

    state: TrainState
    leaves: Leaves
    recorder: Recorder
    comm: Communicator
    limits: tuple[str, int]
    restarted: Callable[[], RunStarted]

    def events(self, make: Callable[[], Iterator[Event]]) -> Iterator[Event]:
        """Yield the events of ``make()``, made anew from the state that is gone back to, as often as need be.

        Raises, on every rank, DivergedError or NonFiniteError when the run is not to be healed (again); DataError when
        the images that a post-mortem looks at cannot be read.
        """
        state = self.state
        if state.progress.divergences and state.progress.divergences[-1]["action"] == STOPPED:
            state.progress.divergences.pop()  # ranks were lost while the run ended: it ends again, for the same reason
        while True:
            try:
                self._judge()  # a rank may have been lost while the others were at it
                for event in make():
                    yield event
                    if isinstance(event, StepDone):
                        self._judge()
                return
            except (DivergedError, NonFiniteError) as error:
                with in_agreement(self.comm):
                    report = examine(state, self.leaves, self.recorder)
                report = self.comm.broadcast(report)
                if error.kind == "dead" and not (report["blind"] or state.progress.watch.wild):
                    state.progress.watch.be_patient()
                    advice = "too low a rate, too high a one, or too small initial weights"
                    yield Notice(f"{error}, but the network is alive ({advice}): going on", "warning")
                else:
                    yield from self._treat(error, report)

    def _judge(self) -> None:
        """Raise NonFiniteError if the state is not finite, DivergedError if the losses so far say so.

        Looked at after every step, and wherever the course starts again: at the same place of the run whoever saves
        when, and whoever is lost.
        """
        progress, watch = self.state.progress, self.state.progress.watch
        if not self.state.finite:
            raise explain_spoiled(self.state)
        if watch.verdict is None or self.limits[0] == "ignore":
            return
        if watch.verdict == "spike":
            what = f"the loss was far above its level of {watch.level:.3g} for {loss_watch.SPIKE_STEPS} steps"
        else:
            what = f"no better than guessing for {loss_watch.DEAD_STEPS} steps"
        raise DivergedError(
            watch.verdict,
            f"epoch {progress.epoch + 1}, step {progress.step}: {what}, the running loss is {watch.mean:.3g}",
        )

    def _treat(self, error: DivergedError | NonFiniteError, report: Report) -> Iterator[Event]:
        """Go back, or raise ``error``; nothing is sent until every rank has made its own change."""
        state, divergences = self.state, self.state.progress.divergences
        policy, most = self.limits
        healing = policy == "heal" and len(divergences) < most
        record = self._record(error.kind, healing)
        divergences.append(record)
        if not healing:
            yield Diverged(len(divergences), record, str(error), report, back_to=None)
            raise self._final(error)
        state.go_back()
        progress = state.progress
        progress.factor *= FACTOR
        self.recorder.clear()
        back_to = (progress.steps, progress.epoch)
        yield Diverged(len(progress.divergences), record, str(error), report, back_to)
        what, _, _ = str(error).partition(";")  # without what it advises to do
        yield Notice(f"{what}: {record['action']} ({report['findings'][0]})", "warning")
        yield self.restarted()
        yield from save(state, self.comm, "healed")

    def _record(self, kind: str, healing: bool) -> dict[str, Any]:
        """Return what the summary is to say: nothing in it depends on the number of ranks."""
        progress, good = self.state.progress, self.state.good.progress
        factor = progress.factor * FACTOR
        back = f"gone back to {good.coming}, the rate is {factor:g} of the schedule's"
        return {
            "kind": kind,
            "epoch": progress.epoch,
            "step": progress.step if kind == "non-finite" else progress.step - 1,  # that was not made, or showed it
            "mean_loss": progress.watch.mean,
            "level": progress.watch.level,
            "action": back if healing else STOPPED,
            "lr_factor": factor if healing else progress.factor,
        }

    def _final(self, error: DivergedError | NonFiniteError) -> DistlenetError:
        """Return the error that ends the run, saying what was tried."""
        heals = len(self.state.progress.divergences) - 1
        tried = f", after going back {heals} time{'s' if heals > 1 else ''}" if heals else ""
        if isinstance(error, DivergedError):
            tried += "; lower --lr, or choose other --init; postmortem/ in the run directory says more"
        elif tried:
            tried += " to lower rates"
        error.args = (f"{error}{tried}",)
        return error
