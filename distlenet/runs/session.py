"""One run from its options to its summary: everything around the training loop."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from distlenet.config import Config
from distlenet.errors import CallbackError, DistlenetError, Stopped
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import in_agreement
from distlenet.parallel.watchdog import Watchdog
from distlenet.runs.experiment import Experiment, RunOptions, set_up
from distlenet.runs.gradient_check import watch_closely
from distlenet.runs.rank_comparison import compare_numerics, judge_newcomer, of_host
from distlenet.runs.root import OtherRank, Root
from distlenet.runs.slow_ranks import SlowRanks
from distlenet.runs.summary import Pace, final_test, summarize
from distlenet.runs.tracing import Tracing, Untraced
from distlenet.training.audit import EVERY, Audits
from distlenet.training.crew import Crew
from distlenet.training.events import Event, Listener, Notice, RunFinished
from distlenet.training.healing import Healer
from distlenet.training.loop import LoopOptions, train
from distlenet.training.lost_ranks import Survivor
from distlenet.training.signals import Signals
from distlenet.training.state import broadcast_state


class Session:
    """A run on one rank. ``make_views`` creates the displays if this rank becomes the root."""

    def __init__(
        self, options: RunOptions, comm: Communicator, signals: Signals, make_views: Callable[[], list[Listener]]
    ) -> None:
        self.options, self.comm, self.signals, self._make_views = options, comm, signals, make_views
        self.audits = Audits()
        self.root = OtherRank()  # until this rank is appointed root
        self.tracing, self.slow_ranks = Untraced(), SlowRanks(comm)
        self._started = time.perf_counter()

    def run(self) -> int:
        """Train, evaluate, write the summary; return the exit code, also if a signal stopped the run.

        Raises any other error that ended the run, on every rank.
        """
        finished = RunFinished()
        for event in self.events():
            finished = event if isinstance(event, RunFinished) else finished
        return self.outcome(finished)

    def outcome(self, finished: RunFinished) -> int:
        """Return the exit code of a run that ended with the event ``finished``, or raise its error; see ``run``."""
        failure = finished.failure or self.root.callback_failure  # a callback may fail at the last event
        if failure is None or isinstance(failure, Stopped):
            return finished.code
        try:
            raise failure
        finally:
            del finished, failure  # the traceback refers to this frame; it must not keep network and data alive

    def events(self) -> Iterator[Event]:
        """Train, evaluate, write the summary; yield the events after the root has shown and written them.

        Other ranks yield fewer events, because they write nothing. To stop early, ask for it by ``signals`` and take
        the remaining events. An error that ends the run is in the last event. Errors of the preparation are raised.
        """
        heard = Heard()
        self.root.listeners.append(heard)
        try:
            self.appoint_root()
            experiment = self.prepare()
            yield from heard.take()
            for _ in self.follow(experiment):
                yield from heard.take()
        finally:
            self.tracing.close()
            self.root.close()

    def follow(self, experiment: Experiment) -> Iterator[None]:
        """Let the root show and write each event. Lost ranks do not end the run."""
        pace, state, steps = Pace(), experiment.state, experiment.leaves.plan.steps_per_epoch
        with Watchdog(self.comm, lambda: state.progress.upcoming(steps), self.options.stall_after) as watchdog:
            take_over = partial(self.take_over, experiment, watchdog)
            survivor = Survivor(state, experiment.leaves, self.comm, self.crew, take_over)
            events = survivor.events(lambda: self.course(experiment, survivor, pace))
            while True:
                with np.errstate(all="ignore"):  # each step checks explicitly for non-finite numbers
                    event = next(events, None)
                    if event is None:
                        return
                    pace.note(event)
                    self.root.announce(event)
                yield  # outside of errstate, which would otherwise apply to the caller too

    def course(self, experiment: Experiment, survivor: Survivor, pace: Pace) -> Iterator[Event]:
        """Yield the events from the current state to the end of the run.

        After the preparation, ranks exchange messages only in here. When ranks are lost, some of the others may be
        further along, up to the last message of the run. All of them start here again.
        """
        failure: DistlenetError | None = None
        tested: dict[str, Any] = {}
        config, restarted = experiment.config, partial(experiment.started, self.comm)
        limits = config.on_divergence, config.max_heals
        healer = Healer(experiment.state, experiment.leaves, experiment.recorder, self.comm, limits, restarted)
        try:
            yield from healer.events(lambda: self.steps(experiment, survivor))
            seconds = pace.seconds
            tested = final_test(experiment)
        except DistlenetError as error:
            if not error.agreed:
                raise
            failure, seconds = error if self.options.debug else bare(error), pace.seconds
            if isinstance(error, Stopped):
                failure = self.blamed() or failure
        self.crew.disband()
        yield from self.tracing.finish()
        summary = summarize(experiment, self.comm, str(failure or "complete"), seconds, pace) | tested
        summary |= {"total_seconds": round(time.perf_counter() - self._started, 3), "run": self.options.run_directory}
        summary["failure"] = type(failure).__name__ if failure else None
        summary |= self.slow_ranks.for_summary()
        if changes := self.crew.changes:
            summary["ranks_changed"] = changes
        # the other ranks wait until it is written; if the root is lost before that, one of them writes it
        code = self.comm.broadcast(self.root.finish(summary))
        history = experiment.state.progress.history
        yield RunFinished(summary, failure.exit_code if failure else code, failure, history)

    def blamed(self) -> CallbackError | None:
        """Return the error of a callback if one asked the run to stop; a collective operation."""
        failure = self.root.callback_failure
        text = self.comm.broadcast(failure and str(failure))
        return failure or (CallbackError(text) if text else None)

    def steps(self, experiment: Experiment, survivor: Survivor) -> Iterator[Event]:
        """Yield the events of the training."""
        yield from survivor.resume()
        schedule, epochs, recorder = experiment.schedule, experiment.config.epochs, experiment.recorder
        options = LoopOptions(schedule, epochs, self.signals, self.options.save_steps, recorder, self.audits)
        events = train(experiment.state, experiment.leaves, experiment.epoch_end, options, self.comm)
        events = self.crew.follow(self.slow_ranks.follow(events, experiment.leaves.shards))
        yield from self.tracing.follow(events, experiment, survivor)

    def prepare(self) -> Experiment:
        """Set up the run, resume it if requested, and announce the start."""
        with in_agreement(self.comm):
            origin = self.root.find_origin()
        welcome = self.comm.parent.welcome if self.comm.parent else {"origin": self.comm.broadcast(origin)}
        experiment = set_up(self.options, self.comm, self.signals, welcome["origin"])
        with in_agreement(self.comm):
            notices = self.root.begin(experiment)
        broadcast_state(experiment.state, self.comm)
        self.root.announce(experiment.started(self.comm))
        for notice in notices + list(map(Notice, experiment.notices)):
            self.root.announce(notice)
        alike, warnings = compare_numerics(self.comm, experiment.config.numerics)
        self.audits, unaudited = make_audits(self.options, experiment.config, self.comm, alike)
        alike = self.assemble(experiment, welcome, alike)
        for text in unaudited:
            self.root.announce(Notice(text, "warning"))
        if not alike:  # each rank computes the gradient's norm and Muon's step itself; other CPUs give other last bits
            experiment.state.optimizer.agree = self.comm.broadcast
            experiment.state.optimizer.share = self.comm.broadcast_array
        for text in warnings:
            self.root.announce(Notice(text, "warning"))
        if self.options.debug:
            watch_closely(experiment, self.comm, self.root.announce)
        if self.options.trace:
            self.tracing = Tracing(self.options.trace, self.comm, lambda: self.root)
        return experiment

    def assemble(self, experiment: Experiment, welcome: dict[str, Any], alike: bool) -> bool:
        """Prepare for new ranks, or, in one of them, for joining; returns whether all ranks are ``alike``."""
        config, parent = experiment.config, self.comm.parent
        facts = of_host(self.comm, config.numerics) + experiment.facts  # other versions explain other results
        if parent:
            self.audits, alike = Audits(*welcome["audits"]), welcome["alike"]
            parent.show({fact.what: fact.value for fact in facts})
        audits = self.audits.every, self.audits.everything
        welcome |= {"audits": audits, "alike": alike}
        judge = partial(judge_newcomer, facts)
        self.crew = Crew(self.comm, config.shards, self.signals, welcome, judge, self.options.stall_after)
        return alike

    def appoint_root(self) -> bool:
        """Make this rank the root if it is the first remaining one. Returns whether it has just become root."""
        appointed = self.comm.is_root and not isinstance(self.root, Root)
        if appointed:
            self.root = Root(self.options, self.signals, self._make_views(), self.root.listeners)
        return appointed

    def take_over(self, experiment: Experiment, watchdog: Watchdog) -> None:
        """After a loss, take over display and files if the root was lost, and complete the journal."""
        with in_agreement(self.comm):
            if self.appoint_root():
                self.root.take_over(experiment)
                self.root.announce(experiment.started(self.comm))
            self.root.catch_up(experiment.state)
        watchdog.connect()


def make_audits(options: RunOptions, config: Config, comm: Communicator, alike: bool) -> tuple[Audits, list[str]]:
    """Return the audits of a run, and a warning if they are impossible; ``alike``: all ranks have the same numerics.

    Unless asked, one process audits nothing, and neither does a run with user-defined code: it may be random.
    """
    usual = EVERY if comm.size > 1 and not config.code else 0
    audits = Audits(usual if options.audit is None else options.audit, options.audit_all)
    if alike or config.numerics == "portable" or not audits.room(1):
        return audits, []
    return Audits(), ["no audits: the ranks have different numerics, so their bits differ anyway"]


class Heard:
    """A listener that keeps the events until they are taken."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self.on = self._events.append  # see Listener

    def take(self) -> Iterator[Event]:
        """Yield the events since the last call."""
        while self._events:
            yield self._events.popleft()


def bare(error: DistlenetError) -> DistlenetError:
    """Return ``error`` without its traceback, whose frames would keep network and data alive."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
