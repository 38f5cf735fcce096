"""A run directory that is read-only, vanishes, or is claimed by two runs."""

import os
import random
import shutil
import signal

import mpi_jobs
import pytest
from faults import disks, runs

OPTIONS = ["--epochs", "4", "--checkpoint-every", "3"]
STEPS = 44
TRIALS = 20


def test_read_only_from_the_start(whole, digits, only_sentence, tmp_path):
    with disks.small_disk(tmp_path / "disk", 16) as disk:
        shutil.copytree(whole, disk / "run")
        assert disks.mount("-o", "remount,ro", str(disk)) is None
        for run, options in [("new", []), ("run", ["--overwrite"]), ("run", ["--resume", "auto"]), ("run", [])]:
            done = runs.do(runs.train(digits, disk / run, *OPTIONS, *options))
            only_sentence(done, 6, "cannot write the run directory", "read-only file system")
        for words in (["inspect", str(disk / "run")], ["evaluate", str(disk / "run"), "--data", str(digits)]):
            assert runs.do(words).returncode == 0  # reading needs no write permission


def test_no_write_permission(whole, digits, only_sentence, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    with disks.no_writing(tmp_path / "run", tmp_path / "run/checkpoints", tmp_path):
        for run, options in [("new", []), ("run", ["--overwrite"]), ("run", ["--resume", "auto"])]:
            words = runs.train(digits, tmp_path / run, *OPTIONS, *options)
            done = mpi_jobs.run(disks.powerless(runs.command(words)))
            only_sentence(done, 6, "cannot write the run directory", "permission denied")


def test_read_only_during_the_run(soak, whole, digits, tmp_path):
    with soak.fault("a run directory that becomes read-only") as fault:
        for number in range(soak.count(TRIALS)):
            run, pace = tmp_path / f"run-{number}", runs.Paced(tmp_path / f"pace-{number}")
            with fault.trial(number):
                pace.halt_at(random.Random(number).randrange(STEPS - 3))
                becomes_read_only(run, pace, digits, whole)


def becomes_read_only(run, pace, digits, whole):
    words = runs.train(digits, run, *OPTIONS)
    command = runs.command([str(pace.folder), *words], script="paced.py")
    with mpi_jobs.Job(disks.powerless(command)) as job:
        pace.wait(job)
        with disks.no_writing(run, run / "checkpoints"):
            pace.continue_to_end()
            done = job.finish().expect(6)
    assert "Traceback" not in done.output
    message = runs.warnings(done.output)
    assert len([line for line in message if "permission denied" in line and "checkpoints" in line]) == 1, message
    assert [line for line in message if "permission denied" in line and "summary.json" in line], message
    assert "result status=complete" in done.output  # the figures are shown anyway
    runs.resumes(run, whole, words)


def test_vanishes(soak, whole, digits, tmp_path):
    with soak.fault("a run directory that vanishes") as fault:
        for number in range(soak.count(TRIALS)):
            chance, run = random.Random(number), tmp_path / f"run-{number}"
            with fault.trial(number):
                done = interfere(digits, run, tmp_path / f"pace-{number}", chance.randrange(STEPS), remove).expect()
                message = runs.warnings(done.output)
                assert len(message) == 1 and "was removed during the run: it is made again" in message[0], done.output
                assert "Traceback" not in done.output
                assert runs.results(run) == runs.results(whole)
                assert runs.journal(run) == runs.journal(whole)
                assert (run / "config.toml").read_text() == (whole / "config.toml").read_text()
                assert runs.newest(run).position == runs.newest(whole).position


def interfere(digits, run, folder, step, act, runtime=None, ranks=1):
    """Run, with ``act(run)`` before a step."""
    pace = runs.Paced(folder)
    pace.halt_at(step)
    words = [str(folder), *runs.train(digits, run, *OPTIONS)]
    with mpi_jobs.Job(runs.command(words, runtime, ranks, "paced.py")) as job:
        pace.wait(job)
        act(run)
        pace.continue_to_end()
        return job.finish()


def remove(run):
    shutil.rmtree(run)


def block(run):
    shutil.rmtree(run)
    run.write_text("in the way")


def test_vanishes_permanently(digits, tmp_path):
    done = interfere(digits, tmp_path / "run", tmp_path / "pace", 20, block).expect(6)
    assert "Traceback" not in done.output
    message = runs.warnings(done.output)
    assert len([line for line in message if "checkpoints" in line]) == 1, message
    assert [line for line in message if "summary.json" in line], message
    assert "result status=complete" in done.output
    assert (tmp_path / "run").read_text() == "in the way"


@pytest.mark.parametrize("ranks", [1, 2])
def test_taken_by_another_run(request, whole, digits, only_sentence, tmp_path, ranks):
    runtime = request.getfixturevalue("openmpi") if ranks > 1 else None
    other = runs.Paced(tmp_path / "other")
    other.halt_at(4)
    jobs = []

    def replace(run):
        shutil.rmtree(run)
        words = [str(other.folder), *runs.train(digits, run, *OPTIONS)]
        jobs.append(mpi_jobs.Job(runs.command(words, script="paced.py")))
        other.wait(jobs[0])

    try:
        done = interfere(digits, tmp_path / "run", tmp_path / "pace", 20, replace, runtime, ranks)
        only_sentence(done, 6, "is in use by another run")
        other.continue_to_end()
        assert jobs[0].finish().returncode == 0
    finally:
        for job in jobs:
            job.close()
    runs.same_end(tmp_path / "run", whole)


def test_two_runs_at_once(soak, digits, whole, tmp_path):
    with soak.fault("two runs that start in one directory") as fault:
        for number in range(soak.count(TRIALS)):
            run = tmp_path / f"run-{number}"
            words = runs.train(digits, run, *OPTIONS)
            with (
                fault.trial(number),
                mpi_jobs.Job(runs.command(words)) as one,
                mpi_jobs.Job(runs.command(words)) as two,
            ):
                done = sorted((one.finish(), two.finish()), key=lambda job: job.returncode)
                assert [job.returncode for job in done] == [0, 6], [job.output for job in done]
                assert done[1].output.startswith("distlenet: error:"), done[1].output
                assert done[1].output.count("\n") == 1, done[1].output
                runs.same_end(run, whole)


def test_the_lock_ends_with_its_run(soak, digits, whole, tmp_path):
    with soak.fault("a lock after kill -9") as fault:
        for number in range(soak.count(TRIALS)):
            run, pace = tmp_path / f"run-{number}", runs.Paced(tmp_path / f"pace-{number}")
            words = runs.train(digits, run, *OPTIONS)
            pace.halt_at(random.Random(number).randrange(STEPS))
            with fault.trial(number), mpi_jobs.Job(runs.command([str(pace.folder), *words], script="paced.py")) as job:
                pace.wait(job)
                for options in ([], ["--overwrite"], ["--resume", "auto"]):
                    refused = runs.do([*words, *options]).expect(6)
                    assert f"is in use by another run (process {job.process.pid} on " in refused.output
                    assert refused.output.count("\n") == 1, refused.output
                os.kill(job.process.pid, signal.SIGKILL)
                job.finish()
                runs.resumes(run, whole, words)
