"""Computing a part of a run again in memory, from one of its states: the training loop itself, without any file."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from distlenet.parallel import Communicator
from distlenet.parallel.agreement import in_agreement
from distlenet.runs.checkpoint import Checkpoint
from distlenet.runs.checkpoint_file import read_checkpoint
from distlenet.runs.evidence import Order
from distlenet.runs.experiment import Experiment
from distlenet.runs.record import Line
from distlenet.runs.summary import Pace, final_test, summarize
from distlenet.training.events import Diverged, EpochDone, Event, SaveRequested, StepDone
from distlenet.training.healing import Healer
from distlenet.training.loop import LoopOptions, train
from distlenet.training.signals import Signals
from distlenet.training.state import Snapshot, broadcast_state

# the figures of a summary that the settings and the dataset decide; those of the final test come after a complete run
FIGURES = (
    *("epochs", "steps", "theta_sha256", "divergences", "lr_factor", "seed", "parameters", "code_sha256", "own_code"),
    *("data", "fingerprint"),
)


class Recomputation:
    """One rank's part of it. All methods but ``position`` are collective.

    ``lines`` are those that the journal of the run should have: all epochs and divergences, and the steps whose numbers
    (since the start of the run) are in ``wanted``.
    """

    def __init__(
        self,
        experiment: Experiment,
        comm: Communicator,
        signals: Signals,
        wanted: set[float],
        tell: Callable[[str], None],
    ) -> None:
        self.experiment, self.state = experiment, experiment.state
        self.lines: list[Line] = []
        self._comm, self._signals, self._wanted, self._tell = comm, signals, wanted, tell
        self._initial = Snapshot.of(self.state)

    @property
    def position(self) -> Order:
        """Where the state is."""
        return self.state.progress.order

    def start_from(self, checkpoint: Checkpoint | None) -> None:
        """Bring all ranks to the state of the root's ``checkpoint``, None: to the initial one."""
        with in_agreement(self._comm):
            if checkpoint is None:
                self.state.adopt(self._initial)
            else:
                read_checkpoint(checkpoint.path, checkpoint.trust).restore(self.state)  # into memory, not mapped
        self.experiment.recorder.clear()
        broadcast_state(self.state, self._comm)

    def advance(self, goal: Order) -> None:
        """Train to the position ``goal``, or to the end of the run if it does not come there.

        Raises on every rank: DivergedError and NonFiniteError if the run fails, DataError, OwnCodeError, Stopped.
        """
        if self.position != goal:
            for event in self._events(goal):
                self._note(event)

    def _events(self, goal: Order) -> Iterator[Event]:
        experiment, state = self.experiment, self.state
        limits = experiment.config.on_divergence, experiment.config.max_heals
        loop = LoopOptions(experiment.schedule, experiment.config.epochs, self._signals, recorder=experiment.recorder)
        healer = Healer(
            state,
            experiment.leaves,
            experiment.recorder,
            self._comm,
            limits,
            lambda: experiment.started(self._comm),
        )

        def save_at_goal() -> None:
            # as SIGUSR1 does; all that a judgement about the last step changes is in the state when the save comes
            gone_back, steps, epoch = self.position
            self._signals.save = (gone_back, steps + 1, epoch) == goal

        save_at_goal()
        for event in healer.events(lambda: train(state, experiment.leaves, experiment.epoch_end, loop, self._comm)):
            yield event
            if isinstance(event, SaveRequested) and self.position >= goal:
                return
            save_at_goal()

    def _note(self, event: Event) -> None:
        steps = self.state.progress.steps
        if isinstance(event, EpochDone):
            self._tell(f"recomputed epoch {event.epoch + 1} of {self.experiment.config.epochs}")
            self.lines.append({"kind": "epoch", "steps": steps, **asdict(event)})
        elif isinstance(event, StepDone) and steps in self._wanted:
            self.lines.append({"kind": "step", "steps": steps, **asdict(event)})
        elif isinstance(event, Diverged):
            record = {"cause" if key == "kind" else key: value for key, value in event.record.items()}
            self.lines.append({"kind": "divergence", "steps": steps, **record})

    def figures(self, tested: bool) -> dict[str, Any]:
        """Return the figures of a summary of the current state; ``tested``: with the final test."""
        summary = summarize(self.experiment, self._comm, "", 1.0, Pace())
        figures = {name: summary[name] for name in FIGURES} | (final_test(self.experiment) if tested else {})
        return json.loads(json.dumps(figures))
