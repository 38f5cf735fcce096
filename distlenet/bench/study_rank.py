"""One rank of a scaling study: ``python -m distlenet.bench.study_rank JSON``, which ``study.py`` starts.

It takes the first steps of the user's training by the real loop, without evaluation, checkpoints and callbacks. The
first steps warm up; the others are timed. The root prints a JSON object when it takes the first step, and one with its
figures at the end.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from distlenet.bench.workload import NoEvaluation
from distlenet.config import Config
from distlenet.errors import ConfigError, DistlenetError, report
from distlenet.numerics import numerics
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import in_agreement, on_root
from distlenet.parallel.connect import run_ranks
from distlenet.parallel.watchdog import Watchdog
from distlenet.runs.experiment import Experiment, RunOptions, set_up
from distlenet.runs.rank_comparison import compare_numerics
from distlenet.runs.summary import reduce_share
from distlenet.training.events import StepDone
from distlenet.training.loop import LoopOptions, train
from distlenet.training.signals import Signals
from distlenet.training.state import broadcast_state
from distlenet.trust import Trust

KEY = "scaling study"  # of the printed objects; the user's code may print other ones


def main(text: str) -> int:
    """Run this rank of the job that ``text`` describes: data, settings, steps, warm_up, stall_after; see study.py."""
    job = json.loads(text)
    with Signals() as signals:  # before MPI starts
        return run_ranks(lambda comm: work(comm, job, signals))


def work(comm: Communicator, job: dict[str, Any], signals: Signals) -> None:
    """Train for ``warm_up`` + ``steps`` steps; the root prints the figures of the latter."""
    signals.listen()
    tell = teller(comm)
    config = Config(**job["settings"])
    trust = Trust.in_settings(job["settings"])  # the command has checked it
    experiment = set_up(RunOptions(job["data"], "", flags=job["settings"], trust=trust), comm, signals)
    state, plan, count = experiment.state, experiment.plan, job["warm_up"] + job["steps"]
    with in_agreement(comm):
        if count > (whole := config.epochs * plan.steps_per_epoch):
            raise ConfigError(
                f"the training has {whole} steps, {config.epochs} epochs of {plan.steps_per_epoch}, but the study "
                f"takes {count}, --warm-up included: give scale fewer --steps, or train more --epochs"
            )
    broadcast_state(state, comm)
    alike, warnings = compare_numerics(comm)
    if not alike:
        state.optimizer.agree = comm.broadcast
    with Watchdog(comm, lambda: state.progress.upcoming(plan.steps_per_epoch), job["stall_after"]):
        tell({"started": True})
        with np.errstate(all="ignore"):  # as in a run: each step checks for non-finite numbers
            steps, seconds = take_steps(experiment, comm, signals, count)
    timed = list(zip(seconds, (step.exchange_seconds for step in steps), strict=True))[job["warm_up"] :]
    images = sum(step.count for step in steps[job["warm_up"] :])
    kind, used = memory()
    hosts = comm.allgather(os.uname().nodename)
    tell(
        {
            "images_per_second": images / sum(spent for spent, _ in timed),
            "step_seconds": float(np.median([spent for spent, _ in timed])),
            "reduce_share": reduce_share(timed, comm),
            "memory": max(comm.allgather(used)),  # after this message no rank has ended: PSS shares pages among all
            "memory_kind": kind,
            "theta_sha256": state.theta_sha256(),
            "parameters": state.net.size,
            "hosts": len(set(hosts)),
            "numerics": numerics(),
            "cpu": cpu(),
            "warnings": warnings,
        }
    )


def teller(comm: Communicator) -> Callable[[dict[str, Any]], None]:
    """Return a function by which the root prints an object on one line."""

    def tell(values: dict[str, Any]) -> None:
        on_root(comm, lambda: print(json.dumps({KEY: values}), flush=True))

    return tell


def take_steps(
    experiment: Experiment, comm: Communicator, signals: Signals, count: int
) -> tuple[list[StepDone], list[float]]:
    """Take ``count`` steps; return their events, and the seconds from one to the next.

    These include what a run does between two steps, except at the end of an epoch.
    """
    options = LoopOptions(experiment.schedule, experiment.config.epochs, signals, recorder=experiment.recorder)
    events = train(experiment.state, experiment.leaves, NoEvaluation(), options, comm)
    steps: list[StepDone] = []
    seconds: list[float] = []
    before = perf_counter()
    while len(steps) < count:
        event = next(events)
        if isinstance(event, StepDone):
            now = perf_counter()
            seconds.append(now - before if event.step else event.seconds)
            steps.append(event)
            before = now
    return steps, seconds


def memory() -> tuple[str, int]:
    """Return a kind of memory and how many bytes of it this process has.

    The kind is PSS: shared pages, divided by the processes that share them. Where the system does not tell it, it is
    the peak of RSS, which counts them in full.
    """
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
        return "PSS", 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return "peak RSS", 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def cpu() -> str:
    """Return the name of this host's CPU, "?" if the system does not tell it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "?"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except DistlenetError as error:
        sys.exit(report(error))
