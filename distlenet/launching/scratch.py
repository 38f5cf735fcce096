"""What a job of ``distlenet launch`` needs around it: folders, environment, and a guardian that clears up after it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from distlenet import processes
from distlenet.handshake import ASKED, EXIT_FILE
from distlenet.launching.mpirun import mpi_environment
from distlenet.parallel.orphan import LAUNCHER
from distlenet.processes import JOB, end_processes, identity, is_alive

SHARED_MEMORY = "/dev/shm"
PREFIX, SHARED_PREFIX = ".distlenet-", "distlenet-"  # followed by the identity of the launcher


@dataclass(frozen=True)
class Scratch:
    """A job's mark, its environment, and the folders that are removed after it."""

    mark: str
    environment: dict[str, str]
    folders: list[str]


@contextlib.contextmanager
def scratch(hosts: str | None) -> Iterator[Scratch]:
    """Yield what a job on ``hosts`` (None: this one) needs; afterwards its processes are ended, its folders removed."""
    environment = mpi_environment() | {JOB: uuid.uuid4().hex, LAUNCHER: identity()}
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        environment.setdefault(variable, "1")
    # the root may be on another host: that sees the current directory, as it must for the run's
    place = os.getcwd() if hosts and os.access(".", os.W_OK) else tempfile.gettempdir()
    folders = [_make(place, PREFIX)]
    try:
        environment[EXIT_FILE] = str(Path(folders[0]) / "exit-code")
        if not hosts:  # other hosts do not have these folders
            environment["TMPDIR"] = folders[0]
            if os.access(SHARED_MEMORY, os.W_OK):
                folders.append(_make(SHARED_MEMORY, SHARED_PREFIX))
                environment["OMPI_MCA_btl_sm_backing_directory"] = folders[1]
        yield Scratch(environment[JOB], environment, folders)
    finally:
        end_processes(environment[JOB])
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _make(place: str, prefix: str) -> str:
    """Make a folder of this launcher's, after removing those of launchers that were killed; return its path."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(place):
            who = entry.name.removeprefix(prefix).rpartition("-")[0]
            if (
                entry.name.startswith(prefix)
                and who.count("-") == 2
                and entry.is_dir(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
                and is_alive(who) is False
            ):
                shutil.rmtree(entry.path, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"{prefix}{identity()}-", dir=place)


class Guardian:
    """A process that outlives this one and then ends its job: a launcher that is killed (SIGKILL) cannot."""

    def __enter__(self) -> "Guardian":
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", processes.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # signals to the launcher's process group are not meant for it
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def watch(self, scratch: Scratch | None, mpirun: int = 0, number: int = 0) -> None:
        """Name the job to end, by signal ``number`` to the process ``mpirun``; None: there is none any more."""
        asked = scratch and str(Path(scratch.environment[EXIT_FILE]).with_name(ASKED))
        job = scratch and {
            **{"mark": scratch.mark, "folders": scratch.folders},
            **{"mpirun": mpirun, "signal": number, "asked": asked},
        }
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
