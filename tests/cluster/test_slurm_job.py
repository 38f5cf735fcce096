"""scripts/slurm-job.sh on a real Slurm of three nodes under every fault: always the bits of one process, no job left.

Only with ``--soak``. ``-k`` chooses, for example -k "preempted and mpich".
"""

import os
import signal
import time

import pytest
from cluster.job import Job, leave_nothing, release
from faults import runs

EPOCHS, LONG = 12, 40  # LONG outlasts a time limit


@pytest.fixture(scope="module", autouse=True)
def only_with_soak(soak):
    if not soak.full:
        pytest.skip("the faults of three nodes are tested with --soak only")


def plain(job: Job) -> None:
    job.submit()


def rank_killed(job: Job) -> None:
    job.submit()
    job.until_training()
    os.kill(job.ranks(job.nodes()[1])[0], signal.SIGKILL)


def node_killed(job: Job) -> None:
    job.submit(2, 4)
    job.until_training()
    job.slurm.kill(job.nodes()[1])


def root_killed(job: Job) -> None:
    job.submit(2, 4)
    job.until_training()
    job.slurm.kill(job.nodes()[0])


def cable_pulled(job: Job) -> None:
    job.submit()
    job.until_training()
    node = job.nodes()[1]
    job.slurm.unplug(node)
    job.until(lambda: job.state() != "RUNNING", "noticed by Slurm")
    job.slurm.plug(node)


def preempted(job: Job) -> None:
    job.submit()
    job.until_training()
    other = ["-p", "high", "--nodes=3", "--time=1", "--output=/dev/null", "--wrap", "sleep 3"]
    assert job.slurm.run("sbatch", *other).returncode == 0
    job.until(lambda: job.state() != "RUNNING", "preempted")


def time_limit(job: Job) -> None:
    job.epochs = LONG
    # Slurm looks every 30 s and sends the signal up to 30 s early: 20 to 50 s after the start
    job.submit(options=("--time=1", "--signal=B:USR2@10"))
    job.until(lambda: job.state() == "PENDING" and "requeueing job" in job.text(), "requeueing")
    assert job.slurm.run("scontrol", "update", f"JobId={job.id}", "TimeLimit=20").returncode == 0  # once is enough


def requeued(job: Job) -> None:
    job.submit()
    job.until_training()
    assert job.slurm.run("scontrol", "requeue", job.id).returncode == 0


def cancelled(job: Job) -> None:
    job.submit()
    job.until_training()
    job.slurm.ask("scancel", job.id)
    assert job.wait()["JobState"] == "CANCELLED"
    job.submit()


def wrong_dataset(job: Job) -> None:
    right, job.data = job.data, job.slurm.folder / "wrong.h5"
    job.data.write_bytes(right.read_bytes()[:5000])
    job.submit()
    facts = job.wait()
    assert (facts["JobState"], facts["ExitCode"]) == ("FAILED", "4:0"), job.text()
    assert job.text().count("distlenet: error:") == 1 and "Traceback" not in job.text()
    assert facts["Restarts"] == "0"
    job.data = right
    job.submit()


SCENARIOS = [plain, rank_killed, node_killed, root_killed, cable_pulled, preempted, time_limit, requeued, cancelled]
SCENARIOS += [wrong_dataset]
STOPPED = [preempted, requeued, cancelled]  # by a signal: they save first
RESTARTED_BY_SLURM = [node_killed, root_killed, cable_pulled, preempted, time_limit, requeued]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("launcher", ["mpirun", "srun"])
def test_job_script(slurm, runtime, launcher, scenario, alone, soak):
    with soak.fault(f"slurm: {scenario.__name__}, {launcher}, {runtime.name}") as fault, fault.trial(""):
        job = Job(slurm, runtime, launcher, f"{scenario.__name__}-{launcher}-{runtime.name}", EPOCHS)
        started = time.monotonic()
        try:
            scenario(job)
            release(job.run)
            disturbed = time.monotonic()
            facts = job.wait()
            fault.time("from the fault to the end", time.monotonic() - disturbed)
            fault.time("in all", time.monotonic() - started)
            by_slurm, by_script = int(facts["Restarts"]), job.text().count("starting them again")
            fault.saw(f"{by_slurm} restarts by Slurm, {by_script} by the script")
            assert facts["JobState"] == "COMPLETED", job.text()
            assert (by_slurm > 0) == (scenario in RESTARTED_BY_SLURM), job.text()
            assert by_script > 0 or scenario is not rank_killed, job.text()
            assert "reason='stopped by SIG" in job.text() or scenario not in STOPPED, job.text()
            assert runs.results(job.run) == runs.results(alone(job.epochs)), job.text()
            assert not list(slurm.folder.glob(".distlenet-job-*"))
        finally:
            leave_nothing(slurm)
