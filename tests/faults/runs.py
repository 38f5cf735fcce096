"""Short runs to damage, and the checks that they must pass afterwards."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mpi_jobs
from sessions import journal, results, summary  # noqa: F401

from distlenet.runs.checkpoint import Checkpoint
from distlenet.runs.choice import newest_checkpoint
from distlenet.runs.directory import RunDirectory

HERE = Path(__file__).resolve().parent
SETTINGS = ["--batch-size", "64", "--shards", "4", "--log-every", "1", "--display", "plain"]
FIRST_WRITES = "journal.jsonl"  # exists once the start is complete


def train(digits: Path, run: Path, *options: object) -> list[str]:
    """Return the arguments of a training run."""
    return ["train", "--data", str(digits), "--run", str(run), *SETTINGS, *map(str, options)]


def command(
    words: list[str], runtime: mpi_jobs.Runtime | None = None, ranks: int = 1, script: str | None = None
) -> list[str]:
    """Return the command line of ``distlenet WORDS``, or of a ``script`` next to this file with these words."""
    program = ["-m", "distlenet"] if script is None else [str(HERE / script)]
    if runtime is None:
        return [sys.executable, *program, *words]
    return runtime.command(ranks, *program, *words)


def do(words: list[str], runtime: mpi_jobs.Runtime | None = None, ranks: int = 1) -> mpi_jobs.Finished:
    """Run ``distlenet WORDS`` to its end."""
    return mpi_jobs.distlenet(*words, runtime=runtime, ranks=ranks)


def newest(run: Path) -> Checkpoint:
    """Return the newest checkpoint; all existing ones must be good."""
    checkpoint, damaged = newest_checkpoint(RunDirectory(run))
    assert not damaged, damaged
    return checkpoint


def saved(run: Path) -> list[Path]:
    """Return the checkpoints of the run."""
    return RunDirectory(run).saved()


def announced(output: str) -> bool:
    """Whether the run reported a checkpoint."""
    return any(" checkpoint " in line and "path=" in line for line in output.splitlines())


def leftovers(run: Path) -> list[str]:
    """Return the unfinished files in the run directory."""
    return [str(path) for path in run.rglob("*") if path.name.endswith(".part")]


def same_end(run: Path, whole: Path) -> None:
    """Check that the run ended like the undisturbed ``whole``: weights, choices, and each journal line once."""
    assert results(run) == results(whole)
    assert journal(run) == journal(whole)
    assert not leftovers(run)
    assert newest(run).position == newest(whole).position


def resumes(
    run: Path, whole: Path, words: list[str], runtime: mpi_jobs.Runtime | None = None, ranks: int = 1
) -> mpi_jobs.Finished:
    """Resume ``run`` and check that it ends like ``whole``; ``words`` are those that started it."""
    done = do([*words, "--resume", "auto"], runtime, ranks).expect()
    assert "Traceback" not in done.output, done.output
    same_end(run, whole)
    return done


def warnings(output: str) -> list[str]:
    """Return the warnings of the run."""
    return [line for line in output.splitlines() if line[8:].startswith(" warning ")]


def await_that(condition: Callable[[], object], what: str, timeout: float = mpi_jobs.TIMEOUT) -> None:
    """Wait until ``condition()`` holds."""
    patience = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < patience, f"not {what} in {timeout:g} s"
        time.sleep(0.002)


def members(job: mpi_jobs.Job) -> set[int]:
    """Return the processes of the running job: the first and all its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, new = set(), {job.process.pid}
    while new:
        found |= new
        new = {pid for pid, parent in parents.items() if parent in new} - found
    return found


def root_of(run: Path) -> int:
    """Return the process that has locked the run directory."""
    return int((run / "lock").read_text().split()[1])


def root_pid(run: Path, job: mpi_jobs.Job) -> int | None:
    """Return the process of the run's root, once it has locked its directory."""
    try:
        pid = int((run / "lock").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pid if pid in members(job) else None  # not one of an earlier job, and not a stale number


class Paced:
    """A run that halts before chosen steps, so that a test can act between two steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._step = -1

    def halt_at(self, step: int) -> None:
        """Let the run continue until it has taken ``step`` steps."""
        new = self.folder / "new"
        new.write_text(str(step))
        os.replace(new, self.folder / "halt")
        self._step = step

    def wait(self, job: mpi_jobs.Job) -> None:
        """Wait until it has halted."""
        mpi_jobs.wait_for((self.folder / f"halted-{self._step}").exists, job)

    def continue_to_end(self) -> None:
        """Let it run to its end."""
        self.halt_at(10**9)
