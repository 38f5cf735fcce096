"""``distlenet launch`` as a user starts it, with access to all its processes and files."""

import os
import signal
import sys
import uuid
from pathlib import Path

import mpi_jobs

MARK = "DISTLENET_TEST"
SHARED = "/dev/shm"


class Marked(mpi_jobs.Job):
    """A running command of any kind, all of whose processes can be found."""

    def __init__(self, command: list[str], **variables: str) -> None:
        self._mark = uuid.uuid4().hex
        super().__init__(command, env=mpi_jobs.environment(**{MARK: self._mark}, **variables))

    def ranks(self) -> dict[int, int]:
        """Return the processes of the running ranks, by rank."""
        found = {}
        for pid, variables in self._environments().items():
            rank = variables.get("OMPI_COMM_WORLD_RANK", variables.get("PMI_RANK"))
            if rank is not None:
                found[int(rank)] = pid
        return dict(sorted(found.items()))

    def rank_processes(self) -> list[int]:
        """Return the processes of the ranks, those included that joined later and are all rank 0 of a job of one."""
        return sorted(pid for pid, found in self._environments().items() if "OMPI_COMM_WORLD_RANK" in found)

    def kill_ranks(self) -> None:
        """Kill all ranks at once."""
        for rank in self.ranks().values():
            os.kill(rank, signal.SIGKILL)

    def mpirun(self) -> int | None:
        """Return mpirun's process number, or None before it has started."""
        for pid in self._environments():
            try:
                name = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
            except OSError:
                continue
            if name.endswith((b"prterun", b"/mpirun")):
                return pid
        return None

    def output_so_far(self) -> str:
        """Return the job's output so far."""
        return self._read(0)

    def left_behind(self) -> list[str]:
        """Return the files that remain once the job has ended; ``finish`` checks its processes."""
        shared = [entry.path for entry in os.scandir(SHARED) if f"-{self.process.pid}-" in entry.name]
        return shared + sorted(str(path) for path in Path(self._folder.name).iterdir())

    def _environments(self) -> dict[int, dict[str, str]]:
        mark, found = f"{MARK}={self._mark}".encode(), {}
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                variables = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if mark in variables:
                texts = (variable.decode(errors="replace").partition("=") for variable in variables)
                found[int(path.parent.name)] = {name: value for name, _, value in texts}
        return found

    def _members(self) -> list[int]:
        return list(self._environments())


class Launched(Marked):
    """A running ``distlenet launch WORDS``; unlike other jobs it has processes in several sessions."""

    def __init__(self, *words: object, python: str = sys.executable, **variables: str) -> None:
        super().__init__([python, "-P", "-m", "distlenet", "launch", *map(str, words)], **variables)


def launched(*words: object, python: str = sys.executable, **variables: str) -> mpi_jobs.Finished:
    """Run ``distlenet launch -n 2 WORDS`` to its end; no file may be left behind."""
    with Launched("-n", 2, *words, python=python, **variables) as job:
        done = job.finish()
        assert not job.left_behind()
    return done
