"""scripts/slurm-job.sh on a real Slurm of three nodes under every fault: always the bits of one process, no job left.

Only with ``--soak``: a run takes from ten seconds to two minutes. ``-k`` chooses, for example -k "preempted and mpich".
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import mpi_jobs
import pytest
from cluster import slurm as cluster
from faults import runs

SCRIPT = mpi_jobs.ROOT / "scripts/slurm-job.sh"
PMI = {"openmpi": "pmix", "mpich": "pmi2"}
SETTINGS = ["--batch-size", "64", "--shards", "8", "--log-every", "1", "--display", "plain"]
EPOCHS, LONG = 30, 240  # LONG outlasts a time limit
PATIENCE = 600.0
TRAINING = "distlenet"
ENDS = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY")  # of a job


@pytest.fixture(scope="module")
def slurm(soak):
    if not soak.full:
        pytest.skip("three nodes of Slurm are tested with --soak only")
    if reason := cluster.missing():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix=f"distlenet-test-{os.getpid()}-", dir="/var/tmp"))
    try:
        with cluster.Slurm(folder, shared=[mpi_jobs.ROOT, Path(sys.prefix)]) as found:
            yield found
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def alone(slurm, runtime, digits) -> Callable[[int], Path]:
    """Return ``alone(epochs)``: a run of one process."""
    data = slurm.folder / "drawn.h5"
    shutil.copy(digits, data)

    def train(epochs: int) -> Path:
        run = slurm.folder / f"alone-{runtime.name}-{epochs}"
        if not run.exists():
            words = ["train", "--data", data, "--run", run, *SETTINGS, "--epochs", epochs]
            mpi_jobs.run([runtime.python, "-m", "distlenet", *map(str, words)], timeout=PATIENCE).expect()
        return run

    return train


class Job:
    """A training as a job of Slurm."""

    def __init__(self, slurm: cluster.Slurm, runtime: mpi_jobs.Runtime, launcher: str, name: str) -> None:
        self.slurm, self.run, self.data = slurm, slurm.folder / name, slurm.folder / "drawn.h5"
        self.log, self.id, self.epochs = slurm.folder / f"{name}.log", "", EPOCHS
        self._variables = {"DISTLENET_PYTHON": runtime.python, "PYTHONPATH": str(mpi_jobs.ROOT)}
        if launcher == "srun":
            self._variables["DISTLENET_LAUNCHER"] = f"srun --mpi={PMI[runtime.name]}"

    def submit(self, nodes: int = 3, tasks: int = 6, *, options: tuple[str, ...] = ("--time=20",)) -> None:
        """Put the job into the queue."""
        words = ["--parsable", f"--nodes={nodes}", f"--ntasks={tasks}", f"--output={self.log}", *options]
        words += [f"--chdir={self.slurm.folder}", SCRIPT, "--data", self.data, "--run", self.run, *SETTINGS]
        words += ["--epochs", self.epochs]
        done = self.slurm.run("sbatch", *words, **self._variables)
        assert done.returncode == 0, done.stderr
        self.id = done.stdout.strip()

    def until(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"not {what} in {PATIENCE:g} s: {self.facts()}\n{self.text()}"
            time.sleep(0.2)

    def until_training(self) -> None:
        """Wait until the ranks have taken some more steps."""
        journal = self.run / "journal.jsonl"
        lines = self._lines(journal)
        self.until(lambda: self._lines(journal) > lines + 20, "training")

    @staticmethod
    def _lines(path: Path) -> int:
        return path.read_text().count("\n") if path.exists() else 0

    def facts(self) -> dict[str, str]:
        words = self.slurm.ask("scontrol", "show", "job", self.id).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def state(self) -> str:
        return self.facts().get("JobState", "")

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def nodes(self) -> list[str]:
        """Return the job's nodes; the batch script and rank 0 are on the first."""
        return self.slurm.ask("scontrol", "show", "hostnames", self.facts()["NodeList"]).split()

    def ranks(self, node: str) -> list[int]:
        """Return the processes of the ranks on a node."""
        found = self.slurm.processes(node)
        return [pid for pid, words in found.items() if "python" in words[0] and TRAINING in words]

    def wait(self) -> dict[str, str]:
        """Wait for the end of the job; return what Slurm knows of it."""
        self.until(lambda: self.state() in ENDS, "the end")
        return self.facts()


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
    job.submit(options=("--time=2", "--signal=B:USR2@50"))
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


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("launcher", ["mpirun", "srun"])
def test_job_script(slurm, runtime, launcher, scenario, alone, soak):
    with soak.fault(f"slurm: {scenario.__name__}, {launcher}, {runtime.name}") as fault, fault.trial(""):
        job = Job(slurm, runtime, launcher, f"{scenario.__name__}-{launcher}-{runtime.name}")
        started = time.monotonic()
        try:
            scenario(job)
            disturbed = time.monotonic()
            facts = job.wait()
            fault.time("from the fault to the end", time.monotonic() - disturbed)
            fault.time("in all", time.monotonic() - started)
            fault.saw(f"{facts['Restarts']} restarts by Slurm, {job.text().count('starting them again')} by the script")
            assert facts["JobState"] == "COMPLETED", job.text()
            assert runs.results(job.run) == runs.results(alone(job.epochs)), job.text()
            assert not list(slurm.folder.glob(".distlenet-job-*"))
        finally:
            leave_nothing(slurm)


def leave_nothing(slurm: cluster.Slurm) -> None:
    """Repair the nodes, and check that no job and no process of one is left."""
    left = slurm.ask("squeue", "-h")
    slurm.ask("scancel", "--state=PENDING,RUNNING", "-u", "root")
    for node in slurm.names[1:]:
        if not (slurm.folder / f"{node}.pid").exists():
            slurm.boot(node)
    cluster.nodes.until(slurm.all_idle, f"not all nodes are idle: {slurm.ask('sinfo')}", patience=PATIENCE)
    for node in slurm.names[1:]:
        processes = slurm.processes(node).values()
        assert not [words for words in processes if TRAINING in words or "mpirun" in " ".join(words)], node
    assert not left, left
