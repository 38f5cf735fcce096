"""Training under a real Slurm: srun, mpirun inside a batch job, signals, requeueing. Faults: ``test_slurm_job.py``."""

import json

import launches
import mpi_jobs
import pytest
from cluster.job import DATA, PMI, SETTINGS, Job, leave_nothing, paced, release

SHORT, LONG = 2, 12  # epochs
TIMEOUT = 240.0  # seconds; a start takes ten times as long on a busy machine


@pytest.fixture(autouse=True)
def nothing_is_left(slurm):
    yield
    leave_nothing(slurm)


@pytest.fixture
def srun(slurm):
    """``srun(*words)``: the command line of an srun on one node."""
    # TMPDIR: the folder that a job of the tests gets does not exist on the nodes
    return lambda *words: slurm.on("n0", "env", "-u", "TMPDIR", "srun", "--nodes=1", "--time=9", "--quiet", *words)


def training(python, run, epochs):
    data = run.with_name(DATA)
    return [python, "-m", "distlenet", "train", "--data", data, "--run", run, *SETTINGS, "--epochs", epochs]


def theta(run):
    return json.loads((run / "summary.json").read_text())["theta_sha256"]


def saved_between(log: str) -> list[str]:
    """Return the lines about checkpoints requested by a signal."""
    lines = [line for line in log.splitlines() if " checkpoint " in line and "path=" in line]
    return [line for line in lines if "reason=last" not in line and "reason=best" not in line]


def test_plain_srun_is_refused(slurm, runtime, srun, alone):
    run = slurm.folder / f"plain-{runtime.name}"
    done = mpi_jobs.run(srun("-n2", *training(runtime.python, run, SHORT)), env=slurm.environment(), timeout=TIMEOUT)
    assert done.returncode == 7, done.output
    assert "Traceback" not in done.output
    assert "2 processes that do not know each other" in done.stderr
    assert f"srun --mpi={PMI[runtime.name]}" in done.stderr
    assert not run.exists()


def test_srun_of_one_task_is_one_process(slurm, openmpi, srun, alone):
    run = slurm.folder / "one"
    command = srun("-n1", *training(openmpi.python, run, SHORT))
    mpi_jobs.run(command, env=slurm.environment(), timeout=TIMEOUT).expect()
    assert theta(run) == theta(alone(SHORT))


def test_srun_with_the_right_mpi(slurm, runtime, srun, alone):
    run, kind = slurm.folder / f"right-{runtime.name}", f"--mpi={PMI[runtime.name]}"
    command = srun("-n2", kind, *training(runtime.python, run, SHORT))
    mpi_jobs.run(command, env=slurm.environment(), timeout=TIMEOUT).expect()
    assert json.loads((run / "summary.json").read_text())["ranks"] == 2
    assert theta(run) == theta(alone(SHORT))

    command = srun("-n2", kind, runtime.python, "-m", "distlenet", "doctor", "--json")
    report = json.loads(mpi_jobs.run(command, env=slurm.environment(), timeout=TIMEOUT).expect().stdout)
    assert len(report["ranks"]) == report["launched"] == 2
    assert report["misfit"] is None


def test_srun_with_the_wrong_mpi_is_refused(slurm, openmpi, srun, alone):
    command = srun("-n2", "--mpi=pmi2", *training(openmpi.python, slurm.folder / "wrong", SHORT))
    done = mpi_jobs.run(command, env=slurm.environment(), timeout=TIMEOUT)
    assert done.returncode == 7, done.output
    assert "srun --mpi=pmix" in done.stderr


def test_sigusr1_to_srun_saves_and_continues(slurm, runtime, srun, alone):
    run = slurm.folder / f"usr1-{runtime.name}"
    words = [*training(runtime.python, run, LONG), *paced(run)]
    command = srun("-n2", f"--mpi={PMI[runtime.name]}", f"--job-name={run.name}", *words)
    with launches.Marked(command, SLURM_CONF=str(slurm.settings)) as job:
        journal = run / "journal.jsonl"
        mpi_jobs.wait_for(lambda: journal.exists() and journal.read_text().count("\n") > 3, job, TIMEOUT)
        slurm.ask("scancel", "--signal=USR1", slurm.ask("squeue", "-h", f"--name={run.name}", "-o", "%i"))
        mpi_jobs.wait_for(lambda: saved_between(job.output_so_far()), job, TIMEOUT)
        release(run)
        job.finish(TIMEOUT).expect()
    assert theta(run) == theta(alone(LONG))


@pytest.mark.parametrize("launcher", ["mpirun", "srun"])
def test_job_script(slurm, runtime, launcher, alone):
    # in one job: a save, then requeueing as at a time limit, then the end of the run
    job = Job(slurm, runtime, launcher, f"script-{launcher}-{runtime.name}", LONG)
    job.submit(1, 2)
    job.until_training()
    slurm.ask("scancel", "--batch", "--signal=USR1", job.id)
    job.until(lambda: saved_between(job.text()), "a checkpoint")
    slurm.ask("scancel", "--batch", "--signal=USR2", job.id)
    job.until(lambda: "requeueing job" in job.text(), "requeueing")
    release(job.run)
    facts = job.wait(hurry=True)
    assert (facts["JobState"], facts["ExitCode"], facts["Restarts"]) == ("COMPLETED", "0:0", "1"), job.text()
    assert f"start 0 of job {job.id}: " in job.text()
    assert f"start 1 of job {job.id}: " in job.text()
    assert "resuming from" in job.text()
    summary = json.loads((job.run / "summary.json").read_text())
    assert (summary["status"], summary["ranks"]) == ("complete", 2)
    assert theta(job.run) == theta(alone(LONG))


def test_scontrol_requeue(slurm, openmpi, alone):
    # as Slurm does after a preemption or a node failure
    job = Job(slurm, openmpi, "mpirun", "requeue", LONG)
    job.submit(1, 2)
    job.until_training()
    slurm.ask("scontrol", "requeue", job.id)
    release(job.run)
    facts = job.wait(hurry=True)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "1"), job.text()
    assert theta(job.run) == theta(alone(LONG))


def test_scancel_saves_and_does_not_come_back(slurm, runtime, alone):
    job = Job(slurm, runtime, "mpirun", f"cancel-{runtime.name}", LONG)
    job.submit(1, 2)
    job.until_training()
    slurm.ask("scancel", job.id)
    facts = job.wait()
    assert (facts["JobState"], facts["Restarts"]) == ("CANCELLED", "0"), job.text()
    summary = job.run / "summary.json"
    assert summary.exists() and json.loads(summary.read_text())["status"].startswith("stopped by SIG"), job.text()
    assert (job.run / "checkpoints/last.h5").exists()
