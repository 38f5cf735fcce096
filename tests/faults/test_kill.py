"""kill -9 of the root at any moment: a good checkpoint exists, and the run resumes to the same bits."""

import os
import random
import signal
import time
from pathlib import Path

import mpi_jobs
from faults import runs

KILLS = 200
OPTIONS = ["--epochs", "4", "--checkpoint-every", "3"]
MPI_SHARE = 3  # one in this many is killed under an mpirun


def kill_at_random(job, run, chance, life, launched):
    """Kill the root: at any time, while it trains, or while it saves. Return the moment."""
    pid = job.process.pid
    if launched:
        wait_or_end(job, lambda: runs.root_pid(run, job))
        pid = runs.root_pid(run, job)
    way = chance.random()
    if way < 0.2:
        time.sleep(chance.uniform(0, life))
    elif way < 0.6:
        wait_or_end(job, (run / runs.FIRST_WRITES).exists)
        time.sleep(chance.uniform(0, life / 2))
    else:
        for _ in range(chance.randint(1, 12)):  # the n-th save
            wait_or_end(job, lambda: not saving(run))
            wait_or_end(job, lambda: saving(run))
        time.sleep(chance.choice([0, 0, chance.uniform(0, 0.002), chance.uniform(0, 0.01)]))
    if pid is None or job.process.poll() is not None:
        return "after its end"
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return "after its end"
    return "in a save" if saving(run) else "between two saves" if runs.saved(run) else "before the first save"


def saving(run):
    try:
        return any(name.endswith(".part") for name in os.listdir(run / "checkpoints"))
    except FileNotFoundError:
        return False


def alive(pid):
    """Whether the process runs; one that has ended may still exist as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_or_end(job, condition):
    patience = time.monotonic() + mpi_jobs.TIMEOUT
    while not condition() and job.process.poll() is None:
        assert time.monotonic() < patience
        time.sleep(0.0005)  # a save takes longer


def check_remaining_files(run, output):
    """Every checkpoint is good; the newest exists if any was ever announced."""
    if list((run / "checkpoints").glob("*.h5")) or runs.announced(output):
        return f"epoch {runs.newest(run).progress.epoch + 1}"
    return "no checkpoint yet"


def test_kill_9_of_the_root(soak, runtimes, whole, digits, tmp_path):
    started = time.monotonic()
    assert runs.do(runs.train(digits, tmp_path / "measured", *OPTIONS)).returncode == 0
    life = time.monotonic() - started
    with soak.fault("kill -9 of the root") as fault:
        for number in range(soak.count(KILLS)):
            chance = random.Random(number)
            launch = (runtimes and number % MPI_SHARE == 0 and runtimes[number // MPI_SHARE % len(runtimes)]) or None
            run = tmp_path / f"run-{number}"
            with fault.trial(f"kill {number} ({launch.name if launch else 'one process'})"):
                one_kill(fault, run, digits, whole, chance, launch, life)


def one_kill(fault, run, digits, whole, chance, launch, life):
    words = runs.train(digits, run, *OPTIONS)
    resume = ["--resume", "auto"]
    for attempt in range(2 if chance.random() < 0.25 else 1):
        with mpi_jobs.Job(runs.command([*words, *resume * attempt], launch, 2)) as job:
            moment = kill_at_random(job, run, chance, life, launch)
            killed, ranks = time.monotonic(), runs.members(job) if launch else set()
            done = job.finish()
            runs.await_that(lambda: not any(map(alive, ranks)), f"the end of all of {ranks}")  # noqa: B023
        fault.saw(f"killed {moment}")
        if launch:
            fault.time(f"from the kill to the end of all ranks, {launch.name}", time.monotonic() - killed)
        if moment != "after its end":
            assert done.returncode != 0
        fault.saw(f"left: {check_remaining_files(run, done.output)}")
        if attempt:
            fault.saw("killed twice")
    if (run / "summary.json").exists():
        fault.saw("the run was complete")
    ranks = chance.choice([1, 1, 1, 2, 3]) if launch else 1
    done = runs.resumes(run, whole, words, launch if ranks > 1 else None, ranks)
    fault.time("a resume with its start", done.seconds)
