"""The folders and the environment of a job of ``distlenet launch``, and a guardian that cleans up after it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distlenet import processes
from distlenet.handshake import ASKED, EXIT_FILE, LAUNCH_ID
from distlenet.launching.mpirun import mpi_environment
from distlenet.processes import end_processes, identity, is_alive

SHARED_MEMORY = "/dev/shm"
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")  # BLAS threads, by default one per rank
PREFIX, SHARED_PREFIX = ".distlenet-", "distlenet-"  # followed by the identity of the launcher


@dataclass(frozen=True)
class Scratch:
    """A job's environment and temporary folders; the first folder holds its exit file."""

    environment: dict[str, str]
    folders: list[str]

    @property
    def exit_file(self) -> Path:
        """The file in which the root leaves the exit code, next to the other files of the handshake."""
        return Path(self.folders[0]) / "exit-code"

    def file(self, name: str) -> Path:
        """Return the path of another file of the handshake."""
        return self.exit_file.with_name(name)

    @property
    def mark(self) -> str:
        """The environment entry that all processes of the job have, and no others."""
        return f"{EXIT_FILE}={self.exit_file}"


@contextlib.contextmanager
def scratch(launcher: str, hosts: str | None) -> Iterator[Scratch]:
    """Prepare a job of ``launcher`` on ``hosts`` (None: this host).

    Afterwards its processes are ended and its folders removed.
    """
    environment = mpi_environment() | {LAUNCH_ID: launcher}
    for variable in THREADS:
        environment.setdefault(variable, "1")
    # The root may be on another host. It sees the current directory, as it must see the run directory.
    place = os.getcwd() if hosts and os.access(".", os.W_OK) else tempfile.gettempdir()
    found = Scratch(environment, [_make(place, PREFIX)])
    folders = found.folders
    try:
        environment[EXIT_FILE] = str(found.exit_file)
        if not hosts:  # other hosts do not have these folders
            environment["TMPDIR"] = folders[0]
            if os.access(SHARED_MEMORY, os.W_OK):
                folders.append(_make(SHARED_MEMORY, SHARED_PREFIX))
                environment["OMPI_MCA_btl_sm_backing_directory"] = folders[1]
        yield found
    finally:
        end_processes(found.mark)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _make(place: str, prefix: str) -> str:
    """Remove the folders of launchers that were killed, make one for this launcher, and return its path."""
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
    """A process that outlives the launcher and then ends its job, because a launcher killed by SIGKILL cannot."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", processes.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that signals to the launcher's process group do not reach it
            text=True,
        )
        assert self._process.stdin is not None
        self._stdin = self._process.stdin

    def __enter__(self) -> "Guardian":
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def watch(self, scratch: Scratch | None, mpirun: int = 0, number: int = 0) -> None:
        """Set the job to end, by signal ``number`` to the process ``mpirun``; None if no job runs."""
        asked = scratch and str(scratch.exit_file.with_name(ASKED))
        job = scratch and {
            **{"mark": scratch.mark, "folders": scratch.folders},
            **{"mpirun": mpirun, "signal": number, "asked": asked},
        }
        with contextlib.suppress(OSError):
            self._stdin.write(json.dumps(job) + "\n")
            self._stdin.flush()
