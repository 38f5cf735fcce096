"""The processes of a job on this host, in /proc: found by a mark in their environment, or by their parent."""

import contextlib
import os
import signal
from pathlib import Path

JOB = "DISTLENET_JOB"  # marks the processes of a job, so that none is left behind


def processes(job: str) -> list[int]:
    """Return the living processes of a job on this host, mpirun's own among them."""
    mark, found = f"{JOB}={job}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # a zombie has no environment any more
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def children(parent: int) -> set[int]:
    """Return the living child processes of ``parent``: of mpirun, the ranks on this host and its helpers."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError):
                # "pid (name) state ppid ...", and the name may hold anything
                state, ppid = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if int(ppid) == parent and state not in "ZX":
                    found.add(int(entry.name))
    return found


def end_processes(job: str) -> None:
    """Kill what is left of a job on this host: ranks outlive an mpirun that was killed."""
    for process in processes(job):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
