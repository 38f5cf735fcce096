"""Trainings as jobs of Slurm, started by scripts/slurm-job.sh: see ``slurm.py``."""

import time
from collections.abc import Callable
from pathlib import Path

import mpi_jobs
from cluster import nodes
from cluster.slurm import Slurm

SCRIPT = mpi_jobs.ROOT / "scripts/slurm-job.sh"
PMI = {"openmpi": "pmix", "mpich": "pmi2"}  # srun --mpi=...
SETTINGS = ["--batch-size", "64", "--shards", "8", "--log-every", "1", "--display", "plain"]
DATA = "drawn.h5"  # in the folder that the nodes share
PATIENCE = 600.0
ENDS = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY")  # of a job
TRAINING = "distlenet"
# how many steps a training has taken when a fault strikes must not depend on the machine's speed
PACE = """import time
from pathlib import Path


def on_event(event):
    if type(event).__name__ == "StepDone" and not Path(__file__).with_suffix(".released").exists():
        time.sleep(0.3)
"""


def paced(run: Path) -> list[str]:
    """Return the options by which a training takes three steps a second until ``release(run)``."""
    callback = run.with_name(f"{run.name}.py")
    callback.write_text(PACE)
    return ["--callback", f"{callback}:on_event"]


def release(run: Path) -> None:
    """Let a training continue at full speed."""
    run.with_name(f"{run.name}.released").touch()


class Job:
    """A paced training of ``epochs``; ``launcher`` is mpirun or srun. ``name`` is that of its run directory."""

    def __init__(self, slurm: Slurm, runtime: mpi_jobs.Runtime, launcher: str, name: str, epochs: int) -> None:
        self.slurm, self.run, self.data, self.epochs = slurm, slurm.folder / name, slurm.folder / DATA, epochs
        self.log, self.id = slurm.folder / f"{name}.log", ""
        self._variables = {"DISTLENET_PYTHON": runtime.python, "PYTHONPATH": str(mpi_jobs.ROOT)}
        if launcher == "srun":
            self._variables["DISTLENET_LAUNCHER"] = f"srun --mpi={PMI[runtime.name]}"

    def submit(self, nodes: int = 3, tasks: int = 6, *, options: tuple[str, ...] = ("--time=20",)) -> None:
        """Put the job into the queue."""
        words = ["--parsable", f"--nodes={nodes}", f"--ntasks={tasks}", f"--output={self.log}", *options]
        words += [f"--chdir={self.slurm.folder}", SCRIPT, "--data", self.data, "--run", self.run, *SETTINGS]
        words += ["--epochs", self.epochs, *paced(self.run)]
        done = self.slurm.run("sbatch", *words, **self._variables)
        assert done.returncode == 0, done.stderr
        self.id = done.stdout.strip()

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until ``condition()`` holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"not {what} in {PATIENCE:g} s: {self.facts()}\n{self.text()}"
            time.sleep(0.2)

    def until_training(self) -> None:
        """Wait until the ranks have taken some more steps."""
        lines = self._lines()
        self.until(lambda: self._lines() > lines + 12, "training")

    def _lines(self) -> int:
        journal = self.run / "journal.jsonl"
        return journal.read_text().count("\n") if journal.exists() else 0

    def facts(self) -> dict[str, str]:
        """Return what Slurm knows of the job."""
        words = self.slurm.ask("scontrol", "show", "job", self.id).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def state(self) -> str:
        """Return the job's state, "" if Slurm does not answer."""
        return self.facts().get("JobState", "")

    def text(self) -> str:
        """Return the job's log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def nodes(self) -> list[str]:
        """Return the job's nodes; the batch script and rank 0 are on the first."""
        return self.slurm.ask("scontrol", "show", "hostnames", self.facts()["NodeList"]).split()

    def ranks(self, node: str) -> list[int]:
        """Return the processes of the ranks on a node."""
        found = self.slurm.processes(node)
        return [pid for pid, words in found.items() if "python" in words[0] and TRAINING in words]

    def wait(self, hurry: bool = False) -> dict[str, str]:
        """Wait for the end of the job; return what Slurm knows of it. ``hurry``: a requeued job starts at once."""

        def ended() -> bool:
            state = self.state()
            if hurry and state == "PENDING":
                self.slurm.ask("scontrol", "update", f"JobId={self.id}", "StartTime=now")
            return state in ENDS

        self.until(ended, "the end")
        return self.facts()


def leave_nothing(slurm: Slurm) -> None:
    """Repair the nodes, and check that no job and no process of one is left."""
    left = slurm.ask("squeue", "-h")
    slurm.ask("scancel", "--state=PENDING,RUNNING", "-u", "root")
    for node in slurm.names[1:]:
        if not (slurm.folder / f"{node}.pid").exists():
            slurm.boot(node)
    nodes.until(slurm.all_idle, f"not all nodes are idle: {slurm.ask('sinfo')}", patience=PATIENCE)
    for node in slurm.names[1:]:
        processes = slurm.processes(node).values()
        assert not [words for words in processes if TRAINING in words or "mpirun" in " ".join(words)], node
    assert not left, left
