"""Healing: a run that diverges goes back to its last good state and continues at a lower learning rate.

All ranks judge by the same reduced numbers, so all of them notice at the same step, and each goes back by itself. The
batches keep their order, which depends only on seed and position. The order is not at fault: the steps were too long,
and shorter ones take a different path.
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
from distlenet.training.postmortem import Recorder, Report, examine, explain_spoiled
from distlenet.training.state import TrainState

FACTOR = 0.5  # multiplies the learning rate each time
STOPPED = "stopped"  # the recorded action when a divergence ends the run


@dataclass(frozen=True)
class Healer:
    """The ranks' common response to a divergence.

    ``limits``: "heal", "stop" or "ignore", and the largest number of heals. ``restarted`` returns the event that
    announces a run that continues.
    """

    state: TrainState
    leaves: Leaves
    recorder: Recorder
    comm: Communicator
    limits: tuple[str, int]
    restarted: Callable[[], RunStarted]

    def events(self, make: Callable[[], Iterator[Event]]) -> Iterator[Event]:
        """Yield the events of ``make()``; call it again after each time the run went back.

        Raises on every rank: DivergedError or NonFiniteError if the run may not be healed (again), DataError if the
        images for the post-mortem cannot be read.
        """
        state = self.state
        if state.progress.divergences and state.progress.divergences[-1]["action"] == STOPPED:
            state.progress.divergences.pop()  # ranks were lost while the run ended: it ends again, for the same reason
        while True:
            try:
                yield from self._judge()  # a rank may have been lost during the last check
                for event in make():
                    yield event
                    if isinstance(event, StepDone):
                        yield from self._judge()  # within the loop: a patient run still obeys the votes of this step
                return
            except (DivergedError, NonFiniteError) as error:
                yield from self._treat(error, self._examine())

    def _judge(self) -> Iterator[Event]:
        """Raise NonFiniteError if the state is not finite, DivergedError if the losses so far show a divergence.

        A run that only guesses may continue if its network is alive; this yields a notice. Called after every step
        and at every restart, so the verdict comes at the same step, no matter how often the run saves and which
        ranks are lost.
        """
        watch = self.state.progress.watch
        if not self.state.finite:
            raise explain_spoiled(self.state)
        if watch.verdict is None or self.limits[0] == "ignore":
            return
        error = self._diverged()
        if error.kind == "dead" and not (watch.wild or self._examine()["blind"]):
            watch.be_patient()
            advice = "its rate is too low or too high, or its initial weights are too small"
            yield Notice(f"{error}, but the network is alive ({advice}): training continues", "warning")
        else:
            raise error

    def _examine(self) -> Report:
        """Return the root's report for the post-mortem, on every rank."""
        with in_agreement(self.comm):
            report = examine(self.state, self.leaves, self.recorder)
        return self.comm.broadcast(report)

    def _diverged(self) -> DivergedError:
        """Return the error for the verdict of the loss watch."""
        progress, watch = self.state.progress, self.state.progress.watch
        if watch.verdict == "spike":
            what = f"the loss was far above its level of {watch.level:.3g} for {loss_watch.SPIKE_STEPS} steps"
        else:
            what = f"no better than guessing for {loss_watch.DEAD_STEPS} steps"
        return DivergedError(
            str(watch.verdict),
            f"epoch {progress.epoch + 1}, step {progress.step}: {what}, the running loss is {watch.mean:.3g}",
        )

    def _treat(self, error: DivergedError | NonFiniteError, report: Report) -> Iterator[Event]:
        """Go back, or raise ``error``; no message is sent until every rank has changed its own state."""
        state, divergences = self.state, self.state.progress.divergences
        policy, most = self.limits
        healing = policy == "heal" and len(divergences) < most
        record = self._record(error, healing)
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
        what, _, _ = str(error).partition(";")  # without the advice
        yield Notice(f"{what}: {record['action']} ({report['findings'][0]})", "warning")
        yield self.restarted()
        yield from save(state, self.comm, "healed")

    def _record(self, error: DivergedError | NonFiniteError, healing: bool) -> dict[str, Any]:
        """Return the record for the summary; nothing in it depends on the number of ranks."""
        progress, good = self.state.progress, self.state.good.progress
        factor = progress.factor * FACTOR
        # a gradient that is not finite is found before the update of its step, all else after it
        skipped = isinstance(error, NonFiniteError) and self.state.finite
        start = good.upcoming(self.leaves.plan.steps_per_epoch)
        back = f"gone back to {start}, the rate is {factor:g} of the schedule's"
        return {
            "kind": error.kind,
            "epoch": progress.epoch,
            "step": progress.step if skipped else progress.step - 1,  # 0-based: the step that failed or showed it
            "mean_loss": progress.watch.mean,
            "level": progress.watch.level,
            "action": back if healing else STOPPED,
            "lr_factor": factor if healing else progress.factor,
        }

    def _final(self, error: DivergedError | NonFiniteError) -> DistlenetError:
        """Return ``error`` with a note of how often the run went back before."""
        heals = len(self.state.progress.divergences) - 1
        tried = f", after going back {heals} time{'s' if heals > 1 else ''}" if heals else ""
        if isinstance(error, DivergedError):
            tried += "; lower --lr, or choose another --init; see postmortem/ in the run directory for details"
        elif tried:
            tried += " to lower rates"
        error.args = (f"{error}{tried}",)
        return error
