"""Signals at any moment, to any process: the run saves, ends with its code, and resumes to the same bits."""

import os
import random
import signal
import time
from pathlib import Path

import drawn
import mpi_jobs
import pytest
from faults import runs

STOPS = 60  # for each of the five targets
SECOND = 20
OPTIONS = ["--epochs", "3", "--checkpoint-every", "5", "--validation", "6000"]  # evaluation takes most of the time
TARGETS = ["the process", "mpirun", "a rank"]
KINDS = ["SIGINT", "SIGTERM", "SIGUSR1"]
CODES = {"SIGINT": 130, "SIGTERM": 143}
HANDLED = sum(1 << (number - 1) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1))


@pytest.fixture(scope="module")
def many_digits(tmp_path_factory):
    """600 training images, and 6,000 to evaluate after each epoch."""
    return drawn.write_again(tmp_path_factory.mktemp("many") / "many.h5", 11)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, many_digits):
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    runs.do(runs.train(many_digits, run, *OPTIONS)).expect()
    return run, runs.summary(run)["total_seconds"]


@pytest.mark.parametrize("target", TARGETS)
def test_stops(soak, request, many_digits, undisturbed, tmp_path, target):
    for name in ["none"] if target == "the process" else ["openmpi", "mpich"]:
        runtime = None if name == "none" else mpi_jobs.find_runtime(name)
        if isinstance(runtime, str):
            continue
        with soak.fault(f"signals to {target}" + (f" of {name}" if runtime else "")) as fault:
            for number in range(soak.count(STOPS)):
                chance = random.Random(f"{target} {name} {number}")
                kind = KINDS[(number + TARGETS.index(target)) % 3]
                run = tmp_path / f"{name}-{number}"
                with fault.trial(f"{kind}, number {number}"):
                    one_signal(fault, run, many_digits, undisturbed, chance, runtime, target, kind)


def one_signal(fault, run, digits, undisturbed, chance, runtime, target, kind):
    whole, life = undisturbed
    words = runs.train(digits, run, *OPTIONS)
    with mpi_jobs.Job(runs.command(words, runtime, 2)) as job:
        mpi_jobs.wait_for(lambda: len(listening(job)) == (2 if runtime else 1), job)
        early = chance.random() < 0.25
        if not early:
            mpi_jobs.wait_for((run / runs.FIRST_WRITES).exists, job)
        time.sleep(chance.uniform(0, 0.2 if early else life))
        ended = job.process.poll() is not None
        to = {"the process": job.process.pid, "mpirun": job.process.pid}.get(target)
        try:
            os.kill(to or chance.choice(sorted(listening(job))), getattr(signal, kind))
        except (ProcessLookupError, IndexError):
            ended = True
        sent = time.time()
        done = job.finish()
    where = target + (f" of {runtime.name}" if runtime else "")
    assert "Traceback" not in done.output, done.output
    status = runs.summary(run)["status"] if (run / "summary.json").exists() else "no summary"
    if kind == "SIGUSR1" or ended or status == "complete":
        assert status == "complete", done.output
        assert done.returncode == 0 or not ended, done.output  # a signal may hit the very end of a process
        runs.same_end(run, whole)
        fault.saw(f"{kind}: the run continued" if kind == "SIGUSR1" else f"{kind}: too late, the run was complete")
        return
    if target == "mpirun" and runtime.name == "openmpi":
        # it sends SIGTERM for both, soon kills the remaining processes, and uses its own exit code
        kind, code, saved = "SIGTERM", 1, status != "no summary"
    else:
        code, saved = CODES[kind], True
    assert done.returncode == code, done.output
    if saved:
        fault.time(f"from the signal to the end, {where}", done.ended - sent)
        assert status == f"stopped by {kind}"
        assert runs.newest(run).progress.steps == runs.summary(run)["steps"]
    fault.saw(f"{kind}: saved and left" if saved else f"{kind}: killed before all was saved")
    runs.resumes(run, whole, words)


def listening(job):
    """Return the processes of the job that have set their handlers."""
    found = []
    for pid in runs.members(job):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        name = status.split("\n", 1)[0]
        caught = int(status.split("SigCgt:")[1].split()[0], 16)
        if "python" in name and caught & HANDLED == HANDLED:
            found.append(pid)
    return found


def test_a_second_ctrl_c_ends_at_once(soak, digits, whole, tmp_path):
    with soak.fault("a second Ctrl-C") as fault:
        for number in range(soak.count(SECOND)):
            run, pace = tmp_path / f"run-{number}", runs.Paced(tmp_path / f"pace-{number}")
            words = runs.train(digits, run, "--epochs", 4, "--checkpoint-every", 3)
            pace.halt_at(random.Random(number).randrange(44))
            with fault.trial(number), mpi_jobs.Job(runs.command([str(pace.folder), *words], script="paced.py")) as job:
                pace.wait(job)  # it does not end on its own
                job.process.send_signal(signal.SIGINT)
                time.sleep(0.5)  # an earlier one counts as the same key press
                assert job.process.poll() is None
                job.process.send_signal(signal.SIGINT)
                sent = time.time()
                done = job.finish()
                fault.time("from the second Ctrl-C to the end", done.ended - sent)
                assert done.returncode == 130
                assert "Traceback" not in done.output
                runs.resumes(run, whole, words)
