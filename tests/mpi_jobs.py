"""Start programs, alone or under mpirun, so that no test can hang and no process or file is left behind."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distlenet.cli import main

ROOT = Path(__file__).resolve().parent.parent
JOBS = Path(__file__).resolve().parent / "jobs"
TIMEOUT = 60.0  # seconds; no job of these tests needs a tenth of it
FAREWELL = 5.0  # seconds that ranks may take to end after mpirun
LAUNCHERS = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "MPI_", "MV2_", "SLURM_", "HYDRA_", "HYDI_")
SHARED_MEMORY = ("mpich_shm_", "sm_segment")
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


@dataclass(frozen=True)
class Runtime:
    """An MPI: a Python whose mpi4py uses it, and the mpirun that belongs to it."""

    name: str  # "openmpi" or "mpich"
    python: str
    mpirun: str

    def command(self, ranks: int, *arguments: str) -> list[str]:
        """Return the command line of ``ranks`` processes of ``python arguments``."""
        options = ["--map-by", ":OVERSUBSCRIBE", "--mca", "mpi_yield_when_idle", "1"]
        return [
            self.mpirun,
            *(options if self.name == "openmpi" else []),
            "-n",
            str(ranks),
            self.python,
            *arguments,
        ]


@dataclass(frozen=True)
class Finished:
    """A job that has ended."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float
    ended: float  # time.time() when mpirun and all its ranks were gone

    @property
    def output(self) -> str:
        """The job's whole output."""
        return self.stdout + self.stderr

    def expect(self, code: int = 0, *words: str) -> "Finished":
        """Return itself; AssertionError if the exit code differs or one of ``words`` is not in the output."""
        assert self.returncode == code, self.output
        assert all(word in self.output for word in words), self.output
        return self


def find_runtime(name: str) -> Runtime | str:
    """Return the MPI called ``name``, or the reason why its tests cannot run."""
    if name == "openmpi":
        folder = Path(sys.executable).parent
        if not (folder / "prterun").exists():
            return f"there is no Open MPI next to {sys.executable}"
        return Runtime(name, sys.executable, str(folder / "mpirun"))
    python = os.environ.get("DISTLENET_MPICH_PYTHON", str(ROOT / ".venv-mpich/bin/python"))
    if not (Path(python).parent / "mpiexec.hydra").exists():
        return f"there is no MPICH next to {python}: scripts/test makes it, or DISTLENET_MPICH_PYTHON names it"
    return Runtime(name, python, str(Path(python).parent / "mpirun"))


def environment(**more: str) -> dict[str, str]:
    """Return an environment for a job: this process's, as if no launcher had started it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}
    clean.update(PYTHONPATH=str(ROOT), **dict.fromkeys(BLAS_THREADS, "1"))
    if os.getuid() == 0:
        clean.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    return {**clean, **more}


class Job:
    """A running program and all the processes it starts; leaving ``with`` ends every one of them."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: str | os.PathLike[str] = "/",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.command = list(command)
        self._folder = tempfile.TemporaryDirectory(prefix="job-", ignore_cleanup_errors=True)
        self._shared_before = _shared_memory()
        self._output = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]  # closed by close()
        self._begun = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            cwd=cwd,
            # Open MPI's session directory is placed where it is removed with the job
            env={**(environment() if env is None else env), "TMPDIR": self._folder.name},
            stdin=subprocess.DEVNULL,
            stdout=self._output[0],
            stderr=self._output[1],
            start_new_session=True,  # every process of the job is found by its session
        )

    def finish(self, timeout: float = TIMEOUT, farewell: float = FAREWELL) -> Finished:
        """Wait for the end; AssertionError if it takes too long, or processes are left ``farewell`` seconds later."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._kill()
            raise AssertionError(f"still running after {timeout:g} s: {self._story()}") from None
        seconds = time.monotonic() - self._begun
        patience = time.monotonic() + farewell
        while (left := self._members()) and time.monotonic() < patience:
            time.sleep(0.01)
        ended = time.time()
        if left:
            self._kill()
            raise AssertionError(f"processes {left} outlived the job: {self._story()}")
        return Finished(code, self._read(0), self._read(1), seconds, ended)

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the remaining processes and remove the job's files in shared memory."""
        self._kill()
        for file in self._output:
            file.close()
        self._folder.cleanup()
        new = _shared_memory() - self._shared_before
        for path in new - _mapped(new):  # files in use by another process belong to another job
            path.unlink(missing_ok=True)

    def _read(self, which: int) -> str:
        size = os.fstat(self._output[which].fileno()).st_size
        return os.pread(self._output[which].fileno(), size, 0).decode(errors="replace").replace("\r\n", "\n")

    def _story(self) -> str:
        return f"{' '.join(self.command)}\n--- stdout\n{self._read(0)}\n--- stderr\n{self._read(1)}"

    def _members(self) -> list[int]:
        """Return the running processes of the job: those of its session, in any process group."""
        members = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid and fields[0] not in "ZX":
                members.append(int(stat.parent.name))
        return members

    def _kill(self) -> None:
        for _ in range(10):  # a process may start another one meanwhile
            members = self._members()
            for pid in members:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if not members:
                break
            time.sleep(0.02)
        self.process.wait()


def run(command: Sequence[str], *, timeout: float = TIMEOUT, **more: Any) -> Finished:
    """Run ``command`` to its end; ``more`` are Job's: cwd, env."""
    with Job(command, **more) as job:
        return job.finish(timeout)


def distlenet(*words: object, runtime: Runtime | None = None, ranks: int = 1, cwd: str | Path = "/") -> Finished:
    """Run ``distlenet WORDS``: under an mpirun, or in this process, on streams that are neither file nor terminal."""
    arguments = list(map(str, words))
    if runtime is not None:
        return run(runtime.command(ranks, "-m", "distlenet", *arguments), cwd=cwd)
    started, out, err = time.monotonic(), io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(cwd):
        try:
            code = main(arguments)
        except SystemExit as left:  # of argparse
            code = left.code
    return Finished(code, out.getvalue(), err.getvalue(), time.monotonic() - started, time.time())


def wait_for(condition: object, job: Job, timeout: float = TIMEOUT) -> None:
    """Wait until ``condition()`` holds; AssertionError if the job ends first or it takes too long."""
    patience = time.monotonic() + timeout
    while not condition():
        assert job.process.poll() is None, f"ended too early: {job.finish()}"
        assert time.monotonic() < patience, f"nothing happened in {timeout:g} s"
        time.sleep(0.005)


def _shared_memory() -> set[Path]:
    return {path for prefix in SHARED_MEMORY for path in Path("/dev/shm").glob(f"{prefix}*")}


def _mapped(paths: set[Path]) -> set[Path]:
    """Return those of ``paths`` that a running process has mapped."""
    found: set[Path] = set()
    if not paths:
        return found
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            text = maps.read_text()
        except OSError:
            continue
        found |= {path for path in paths if str(path) in text}
    return found
