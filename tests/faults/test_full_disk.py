"""A full disk: the run reports it once and continues, saved files stay good, and later saves succeed."""

import os
import random
import shutil
import signal

import mpi_jobs
from faults import disks, runs

TRIALS = 60
STARTS = 40
SIZE = 8  # MiB: four checkpoints and a little more
CHECKPOINT = 900_000  # bytes; a checkpoint is a little larger
OPTIONS = ["--epochs", "4", "--checkpoint-every", "3"]
STEPS = 44


def test_full_for_a_while(soak, whole, digits, tmp_path):
    with disks.small_disk(tmp_path / "disk", SIZE) as disk, soak.fault("a disk that is full for a while") as fault:
        for number in range(soak.count(TRIALS)):
            with fault.trial(f"trial {number}"):
                chance = random.Random(number)
                end = ("continues", "SIGTERM", "kill -9")[number % 3 if soak.full else 0]
                full_for_a_while(fault, disk, tmp_path / f"pace-{number}", digits, whole, chance, end)
            for path in disk.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def full_for_a_while(fault, disk, folder, digits, whole, chance, end):
    fills = chance.randint(0, STEPS - 4)
    empties = chance.randint(fills + 3, STEPS - 1)
    spare = chance.choice([0, 0, chance.randrange(9000), chance.randrange(CHECKPOINT)])
    run, pace = disk / "run", runs.Paced(folder)
    words = runs.train(digits, run, *OPTIONS)
    pace.halt_at(fills)
    with mpi_jobs.Job(runs.command([str(folder), *words], script="paced.py")) as job:
        pace.wait(job)
        filler = disks.fill(disk, spare)
        before = runs.newest(run).progress.steps if runs.saved(run) else 0
        pace.halt_at(empties)
        pace.wait(job)
        # something may have been saved in the space of a replaced file; all existing files are good
        assert not before or runs.newest(run).progress.steps >= before
        if end == "continues":
            filler.unlink()
        else:
            os.kill(job.process.pid, signal.SIGTERM if end == "SIGTERM" else signal.SIGKILL)
        pace.continue_to_end()
        done = job.finish()
    assert "Traceback" not in done.output, done.output
    message = runs.warnings(done.output)
    for what in ("checkpoints", "journal.jsonl"):
        assert len([line for line in message if "disk is full" in line and what in line]) <= 1, message
    if spare < CHECKPOINT // 2:
        assert [line for line in message if "disk is full" in line and "checkpoints" in line], done.output
    if end == "continues":
        assert done.returncode == 0, done.output
        runs.same_end(run, whole)
    else:
        filler.unlink()
        assert done.returncode == {"SIGTERM": 143, "kill -9": -9}[end], done.output
        runs.resumes(run, whole, words)
    fault.saw(end)


def test_full_from_the_start(soak, whole, digits, tmp_path):
    with disks.small_disk(tmp_path / "disk", SIZE) as disk, soak.fault("a disk that is full from the start") as fault:
        for number in range(soak.count(STARTS)):
            chance = random.Random(number)
            spare = chance.choice([0, chance.randrange(40_000), chance.randrange(2_000_000)])
            with fault.trial(f"{spare} bytes free"):
                filler, run = disks.fill(disk, spare), disk / "run"
                words = runs.train(digits, run, *OPTIONS)
                fault.saw(ends_well(runs.do(words), words, run, whole, filler))
            for path in disk.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_limit_on_the_size_of_files(soak, whole, digits, tmp_path):
    with soak.fault("a limit on the size of files") as fault:
        for number in range(soak.count(STARTS)):
            chance, run = random.Random(number), tmp_path / f"run-{number}"
            size = chance.choice([chance.randrange(300, 20_000), chance.randrange(300, 1_100_000)])
            with fault.trial(f"at most {size} bytes"):
                words = runs.train(digits, run, *OPTIONS)
                done = mpi_jobs.run(disks.limited(size, runs.command(words)))
                fault.saw(ends_well(done, words, run, whole))


def ends_well(done, words, run, whole, filler=None):
    """The run wrote everything or reported each failure; once there is space again it resumes to the right end."""
    assert "Traceback" not in done.output, done.output
    outcome = "complete"
    if done.returncode == 0:
        runs.same_end(run, whole)
    else:
        # if the run's output goes to a file, there may have been no space for it either
        assert done.returncode == 6, done.output
        refused = [line for line in done.output.splitlines() if line.startswith("distlenet: error:")]
        outcome = "refused" if refused else "done, but not all of it written"
        assert len(refused) <= 1
    if filler:
        filler.unlink()
    if outcome != "complete":
        runs.resumes(run, whole, words)
    return outcome
