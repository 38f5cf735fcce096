"""One run from its options to its summary: the loop and what is around it."""

import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from distlenet.errors import DistlenetError
from distlenet.numerics import numerics
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import in_agreement
from distlenet.parallel.watchdog import Watchdog
from distlenet.training.announcer import Announcer
from distlenet.training.audits import compare_numerics
from distlenet.training.events import Event, Listener, Notice, RunFinished, RunStarted, StepDone
from distlenet.training.experiment import Experiment, RunOptions, set_up
from distlenet.training.files import NoFiles, RunFiles
from distlenet.training.healing import Healer
from distlenet.training.loop import train
from distlenet.training.lost_ranks import Survivor
from distlenet.training.scrutiny import watch_closely
from distlenet.training.signals import Signals, Stopped
from distlenet.training.state import broadcast_state
from distlenet.training.summary import final_test, summarize

RECENT = 50_000  # steps whose times are kept for the summary: a long run must not fill the memory with them


class Session:
    """A run on one rank. ``make_listeners`` makes those of the root, where and when this rank is it."""

    def __init__(
        self,
        options: RunOptions,
        comm: Communicator,
        signals: Signals,
        make_listeners: Callable[[], list[Listener]],
    ) -> None:
        self.options, self.comm, self.signals, self._make_listeners = options, comm, signals, make_listeners
        self.announce, self.files = Announcer(), NoFiles()
        self.steps: deque[tuple[float, float]] = deque(maxlen=RECENT)  # (seconds, of which exchange) of each step
        self.images = 0  # trained on since the start of this process

    def run(self) -> int:
        """Train, evaluate, write the summary; return the exit code."""
        begun = time.perf_counter()
        self._become_root()
        experiment = self._prepare()
        survivor = Survivor(experiment, self.comm, lambda: self._take_over(experiment))
        self.watchdog = Watchdog(self.comm, lambda: experiment.state.progress.coming, self.options.stall_after)
        self._trained = time.perf_counter()
        try:
            with self.watchdog:
                return self._train(experiment, survivor, begun)
        finally:
            self.announce.listeners.clear()  # they know the announcer: none of them would be let go

    def _train(self, experiment: Experiment, survivor: Survivor, begun: float) -> int:
        healer = Healer(experiment, self.comm, lambda: started(experiment, self.comm))
        with np.errstate(all="ignore"):  # non-finite numbers are looked for explicitly, once a step
            for event in survivor.events(lambda: self._course(experiment, survivor, healer, begun)):
                if isinstance(event, StepDone):
                    self.steps.append((event.seconds, event.exchange_seconds))
                    self.images += event.count
                self.announce(event)
        failure, self._failure = self._failure, None
        if failure is None:
            return self._unwritten
        try:
            if isinstance(failure, Stopped):
                return failure.exit_code
            raise failure
        finally:
            if not self.options.debug:  # the debugger shows where it was raised
                let_go(failure)
            del failure

    def _course(self, experiment: Experiment, survivor: Survivor, healer: Healer, begun: float) -> Iterator[Event]:
        """Yield the events from the state reached to the end of the run.

        All that ranks do together is in here: after a loss some may be further along than others, up to the very
        last message, and all of them begin here again.
        """
        status, tested, self._failure = "complete", {}, None
        try:
            yield from healer.events(lambda: self._events(experiment, survivor, healer))
            seconds = time.perf_counter() - self._trained
            tested = final_test(experiment)
        except DistlenetError as error:
            if not error.agreed:
                raise
            status, self._failure, seconds = str(error), error, time.perf_counter() - self._trained
        summary = summarize(experiment, self.comm, status, seconds, self.steps, self.images) | tested
        summary |= {"total_seconds": round(time.perf_counter() - begun, 3), "run": self.options.run_directory}
        summary["failure"] = type(self._failure).__name__ if self._failure else None
        # the others wait until it is written: if the root is lost before, one of them writes it
        self._unwritten = self.comm.broadcast(self.files.finish(summary, self.announce))
        yield RunFinished(summary)

    def _become_root(self) -> None:
        if self.comm.is_root:
            self.announce.listeners += self._make_listeners()
            self.files = RunFiles()

    def _prepare(self) -> Experiment:
        """Set everything up, resume if asked to, and announce the start."""
        with in_agreement(self.comm):
            origin = self.files.find_origin(self.options)
        experiment = set_up(self.options, self.comm, self.signals, self.comm.broadcast(origin))
        with in_agreement(self.comm):
            notices = self.files.begin(self.options, experiment, self.announce, self.signals)
        broadcast_state(experiment.state, self.comm)
        self.announce(started(experiment, self.comm))
        for notice in notices + list(map(Notice, experiment.notices)):
            self.announce(notice)
        alike, warnings = compare_numerics(self.comm)
        if not alike:  # of what every rank computes for itself, the gradient's norm alone depends on the CPU
            experiment.state.optimizer.agree = self.comm.broadcast
        for text in warnings:
            self.announce(Notice(text, "warning"))
        if self.options.debug:
            watch_closely(experiment, self.comm, self.announce)
        return experiment

    def _events(self, experiment: Experiment, survivor: Survivor, healer: Healer) -> Iterator[Event]:
        yield from survivor.resume()
        yield from train(
            experiment.state,
            experiment.leaves,
            experiment.epoch_end,
            experiment.schedule,
            experiment.config.epochs,
            self.comm,
            self.signals,
            self.options.save_steps,
            healer.recorder,
        )

    def _take_over(self, experiment: Experiment) -> None:
        """Be the root from here on, if this rank was not: show, write and keep. The root's journal is completed."""
        with in_agreement(self.comm):
            if not self.files.writes:
                self._become_root()
                self.files.take_over(self.options, experiment, self.announce, self.signals)
                self.announce(started(experiment, self.comm))
            self.files.catch_up(experiment.state)
        self.watchdog.connect()


def let_go(error: BaseException) -> None:
    """Let the functions in which ``error`` was raised forget what they held: the network, its data, the error."""
    found: BaseException | None = error
    while found is not None:
        traceback.clear_frames(found.__traceback__)
        found = found.__context__


def started(experiment: Experiment, comm: Communicator) -> RunStarted:
    """Return the event that opens a run, or its continuation."""
    config, state = experiment.config, experiment.state
    return RunStarted(
        title=f"{config.model} on {experiment.dataset.name}",
        facts=describe(experiment, comm),
        epochs=config.epochs,
        steps_per_epoch=experiment.plan.steps_per_epoch,
        epoch=state.progress.epoch,
        step=state.progress.step,
        best_accuracy=state.progress.best_accuracy,
        best_epoch=state.progress.best_epoch,
    )


def describe(experiment: Experiment, comm: Communicator) -> dict[str, str]:
    """Return what the header of the display shows."""
    config, plan, validation = experiment.config, experiment.plan, experiment.slices.validation
    numbers = numerics()
    streamed = " (streamed)" if experiment.leaves.streamed else ""
    return {
        "ranks": comm.description,
        "images": f"{plan.samples:,} for training{streamed}, {len(validation or ()):,} for validation",
        "batch": f"{config.batch_size} = {config.shards} shards x {plan.leaf}",
        "optimizer": f"{config.optimizer}, {config.schedule} {config.lr:g}, seed {config.seed}",
        "augmentation": str(experiment.leaves.augmentation),
        "numerics": f"numpy {numbers['numpy']}, {numbers['kernel']} kernel, BLAS threads {numbers['threads']}",
    }
