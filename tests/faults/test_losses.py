"""Ranks that are killed or hang, and an mpirun that is killed, under ``distlenet launch``: nothing is lost."""

import os
import random
import signal
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import drawn
import launches
import mpi_jobs
import pytest
from faults import runs

RANKS = 4
KILLS = 100  # runs, each with one to three kills
HANGS = 20
MPIRUN_KILLS = 20
HEAL_KILLS = 20
STALL_AFTER = 2  # seconds
LAUNCH = ["-n", RANKS, "--max-restarts", 3, "--stall-after", STALL_AFTER]
OPTIONS = ["--epochs", "6"]
START = 0.25  # of a job's course: before it trains
# this rate diverges to infinity on any machine, with 1,200 images; it is halved until the run learns
DIVERGING = [
    *("--epochs", "2", "--recipe", "fast", "--optimizer", "sgd", "--schedule", "constant", "--lr", "16", "--clip", "0"),
    *("--init", "normal", "--max-heals", "12"),
]


@dataclass(frozen=True)
class Undisturbed:
    """An undisturbed run: its end, and how long it takes on all ranks, until its first step and in all."""

    data: Path
    run: Path  # of one process
    start: float  # seconds
    seconds: float

    @property
    def steps(self) -> int:
        """The number of its steps."""
        return runs.summary(self.run)["steps"]


@pytest.fixture(scope="module")
def undisturbed(survivors_continue, tmp_path_factory, soak):
    folder = tmp_path_factory.mktemp("losses")
    data, run = drawn.write_again(folder / "drawn.h5", 5 if soak.full else 2), folder / "whole"
    done = runs.do(runs.train(data, run, *OPTIONS)).expect()
    starts, seconds = [], []
    for number in range(5 if soak.full else 1):
        again = folder / f"launched-{number}"
        with launches.Launched(*LAUNCH, *runs.train(data, again, *OPTIONS)) as job:
            started = time.monotonic()
            mpi_jobs.wait_for(lambda again=again: steps_so_far(again), job)
            starts.append(time.monotonic() - started)
            done = job.finish().expect()
            assert not job.left_behind()
        ends_like(again, run)
        seconds.append(done.seconds)
    return Undisturbed(data, run, statistics.median(starts), statistics.median(seconds))


def ends_like(run, whole):
    """The results are those of ``whole``, and the journal has the line of every epoch once."""
    assert runs.results(run) == runs.results(whole)
    assert runs.summary(run)["divergences"] == runs.summary(whole)["divergences"]
    epochs, expected = ([line for line in runs.journal(folder) if line["kind"] == "epoch"] for folder in (run, whole))
    assert epochs == expected
    assert runs.newest(run).position == runs.newest(whole).position
    assert not runs.leftovers(run)


def disturb(fault, undisturbed, run, moments, find, number):
    """Send the signal ``number`` to the process that ``find(job)`` chooses, at the ``moments`` of its course."""
    sent, early = 0, 0
    with launches.Launched(*LAUNCH, *runs.train(undisturbed.data, run, *OPTIONS)) as job:
        started = time.monotonic()
        for moment in moments:
            while not has_come(moment, undisturbed, run, started) and job.process.poll() is None:
                time.sleep(0.002)
            target = wait_for_target(job, find)
            if target is None:
                break
            try:
                os.kill(target, number)
            except ProcessLookupError:
                continue
            sent += 1
            early += not (run / runs.FIRST_WRITES).exists()
        done = job.finish().expect()
        assert not job.left_behind(), done.output
    ends_like(run, undisturbed.run)
    fault.saw(f"{sent} in a run")
    for what in ("restart", "Traceback"):  # neither is a loss, but the report counts both
        if what in done.output:
            fault.saw(f"with a {what.lower()}")
    if sent:
        when = f"{early} of {sent} in the start" if early else "all while it trained"
        fault.time("lost per fault", (done.seconds - undisturbed.seconds) / sent)
        fault.time(f"lost per fault, {when}", (done.seconds - undisturbed.seconds) / sent)


def has_come(moment, undisturbed, run, started):
    """Whether a job that was ``started`` then has come to a ``moment`` of its course: from 0, its start, to 1, its end.

    From START on, its steps count, so that a busy machine, on which it is slower than the undisturbed one, gets as many
    faults.
    """
    steps, step = steps_so_far(run), (moment - START) / (1 - START) * undisturbed.steps
    if step >= 0:
        return steps >= step
    return steps > 0 or time.monotonic() - started >= moment / START * undisturbed.start


def steps_so_far(run):
    """Return the number of steps in the journal so far."""
    journal = run / runs.FIRST_WRITES
    return journal.read_text().count('"kind": "step"') if journal.exists() else 0


def wait_for_target(job, find):
    patience = time.monotonic() + mpi_jobs.TIMEOUT
    while job.process.poll() is None and time.monotonic() < patience:
        if (target := find(job)) is not None:
            return target
        time.sleep(0.002)
    return None


def any_rank(chance):
    def find(job):
        ranks = list(job.ranks().values())
        return chance.choice(ranks) if ranks else None

    return find


@pytest.mark.parametrize(
    ("number", "most", "all_of_them"), [(signal.SIGKILL, 3, KILLS), (signal.SIGSTOP, 1, HANGS)], ids=["killed", "hang"]
)
def test_ranks_are_lost(soak, undisturbed, tmp_path, number, most, all_of_them):
    with soak.fault(f"{number.name} of ranks") as fault:
        for trial in range(soak.count(all_of_them)):
            chance = random.Random(trial)
            moments = sorted(chance.random() for _ in range(chance.randint(1, most)))
            with fault.trial(f"run {trial}, at {moments} of its course"):
                disturb(fault, undisturbed, tmp_path / f"run-{trial}", moments, any_rank(chance), number)


def test_kill_9_of_mpirun(soak, undisturbed, tmp_path):
    with soak.fault("kill -9 of mpirun") as fault:
        for number in range(soak.count(MPIRUN_KILLS)):
            moments = [random.Random(number).random()]
            with fault.trial(f"run {number}, killed at {moments} of its course"):
                run = tmp_path / f"run-{number}"
                disturb(fault, undisturbed, run, moments, launches.Launched.mpirun, signal.SIGKILL)


def test_kill_9_of_ranks_while_the_run_heals(soak, survivors_continue, tmp_path):
    whole, data = tmp_path / "whole", drawn.write_again(tmp_path / "drawn.h5", 2)
    done = runs.do(runs.train(data, whole, *DIVERGING)).expect()
    heals = len(runs.summary(whole)["divergences"])
    assert heals >= 2
    with soak.fault("kill -9 of a rank while the run heals") as fault:
        for number in range(soak.count(HEAL_KILLS)):
            chance = random.Random(number)
            heal, pause = chance.randint(1, heals), chance.uniform(0, 0.03)
            with fault.trial(f"run {number}, {1000 * pause:.0f} ms after the start of heal {heal}"):
                run = tmp_path / f"run-{number}"
                with launches.Launched(*LAUNCH, *runs.train(data, run, *DIVERGING)) as job:
                    patience = time.monotonic() + mpi_jobs.TIMEOUT
                    while not (run / "postmortem" / f"{heal}.json").exists() and time.monotonic() < patience:
                        time.sleep(0.001)
                    time.sleep(pause)
                    target = any_rank(chance)(job)
                    os.kill(target, signal.SIGKILL)
                    done = job.finish().expect()
                    assert not job.left_behind(), done.output
                ends_like(run, whole)
                fault.saw("restart" if "restart" in done.output else "continued")
