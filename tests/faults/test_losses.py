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
# this rate diverges to infinity on any machine; it is halved until the run learns
DIVERGING = [
    *("--epochs", "2", "--recipe", "fast", "--optimizer", "sgd", "--schedule", "constant", "--lr", "16", "--clip", "0"),
    *("--init", "normal", "--max-heals", "12"),
]


@dataclass(frozen=True)
class Undisturbed:
    """An undisturbed run: its end, and how long it takes on all ranks."""

    data: Path
    run: Path  # of one process
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(survivors_continue, tmp_path_factory, soak):
    folder = tmp_path_factory.mktemp("losses")
    data, run = drawn.write_again(folder / "drawn.h5", 5 if soak.full else 2), folder / "whole"
    done = runs.do(runs.train(data, run, *OPTIONS)).expect()
    seconds = []
    for number in range(5 if soak.full else 1):
        again = folder / f"launched-{number}"
        with launches.Launched(*LAUNCH, *runs.train(data, again, *OPTIONS)) as job:
            done = job.finish().expect()
            assert not job.left_behind()
        ends_like(again, run)
        seconds.append(done.seconds)
    return Undisturbed(data, run, statistics.median(seconds))


def ends_like(run, whole):
    """The results are those of ``whole``, and the journal has the line of every epoch once."""
    assert runs.results(run) == runs.results(whole)
    assert runs.summary(run)["divergences"] == runs.summary(whole)["divergences"]
    epochs, expected = ([line for line in runs.journal(folder) if line["kind"] == "epoch"] for folder in (run, whole))
    assert epochs == expected
    assert runs.newest(run).position == runs.newest(whole).position
    assert not runs.leftovers(run)


def disturb(fault, undisturbed, run, moments, find, number):
    """Send the signal ``number`` to the process that ``find(job)`` chooses, at each of the ``moments``."""
    sent, early = 0, 0
    with launches.Launched(*LAUNCH, *runs.train(undisturbed.data, run, *OPTIONS)) as job:
        started = time.monotonic()
        for moment in moments:
            while time.monotonic() - started < moment and job.process.poll() is None:
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
            moments = sorted(chance.uniform(0, undisturbed.seconds) for _ in range(chance.randint(1, most)))
            with fault.trial(f"run {trial}, after {moments} s"):
                disturb(fault, undisturbed, tmp_path / f"run-{trial}", moments, any_rank(chance), number)


def test_kill_9_of_mpirun(soak, undisturbed, tmp_path):
    with soak.fault("kill -9 of mpirun") as fault:
        for number in range(soak.count(MPIRUN_KILLS)):
            moments = [random.Random(number).uniform(0, undisturbed.seconds)]
            with fault.trial(f"run {number}, killed after {moments} s"):
                run = tmp_path / f"run-{number}"
                disturb(fault, undisturbed, run, moments, launches.Launched.mpirun, signal.SIGKILL)


def test_kill_9_of_ranks_while_the_run_heals(soak, undisturbed, tmp_path):
    whole = tmp_path / "whole"
    done = runs.do(runs.train(undisturbed.data, whole, *DIVERGING)).expect()
    heals = len(runs.summary(whole)["divergences"])
    assert heals >= 2
    with soak.fault("kill -9 of a rank while the run heals") as fault:
        for number in range(soak.count(HEAL_KILLS)):
            chance = random.Random(number)
            heal, pause = chance.randint(1, heals), chance.uniform(0, 0.03)
            with fault.trial(f"run {number}, {1000 * pause:.0f} ms after the start of heal {heal}"):
                run = tmp_path / f"run-{number}"
                with launches.Launched(*LAUNCH, *runs.train(undisturbed.data, run, *DIVERGING)) as job:
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
