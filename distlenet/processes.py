"""The processes of a job on this host, in /proc: found by a mark in their environment, or by their parent.

Run as a program, this module is the guardian of a job: see ``guard``. It needs nothing but the standard library.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

GRACE = 4.0  # seconds that a job without its launcher may take to save and end


def processes(mark: str) -> list[int]:
    """Return the living processes of a job on this host, mpirun's own: those that have ``mark`` in their environment.

    ``mark`` is "NAME=VALUE".
    """
    entry_of_job, found = os.fsencode(mark), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # a zombie has no environment any more
                if entry_of_job in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def children(parent: int) -> set[int]:
    """Return the living child processes of ``parent``: of mpirun, the ranks on this host and its helpers."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError):
                state, ppid = _stat(int(entry.name))[:2]
                if int(ppid) == parent and state not in "ZX":
                    found.add(int(entry.name))
    return found


def mapped_files(word: str) -> set[str]:
    """Return the files in this process's memory whose path has ``word``; none where that cannot be seen."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    except OSError:
        return set()
    return {line.split(maxsplit=5)[5] for line in maps.splitlines() if word in line}


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; raises OSError."""
    # "pid (name) state ppid ...", and the name may hold anything
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def identity() -> str:
    """Return what identifies this process for good, in letters that a file name may have: PLACE-PID-BIRTH.

    A number alone is used again for other processes, and means others on another host or in another container.
    """
    return f"{_place()}-{os.getpid()}-{_stat(os.getpid())[19]}"


def is_alive(who: str) -> bool | None:
    """Whether the process with identity ``who`` runs (or is stopped); None where that cannot be seen from here.

    More may follow in ``who``, after another "-".
    """
    place, pid, birth, *_ = who.split("-")
    if place != _place():
        return None
    try:
        fields = _stat(int(pid))
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:
        return None
    return fields[19] == birth and fields[0] not in "ZX"


def _place() -> str:
    """Return what tells this host, and the container whose processes are seen, from others."""
    namespace = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{os.uname().nodename} {namespace}".encode()).hexdigest()[:8]


def send(mark: str, number: int) -> None:
    """Send signal ``number`` to all processes of a job on this host."""
    for process in processes(mark):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def end_processes(mark: str) -> None:
    """Kill what is left of a job on this host: ranks outlive an mpirun that was killed."""
    send(mark, signal.SIGKILL)


def guard() -> None:
    """Clear up after a launcher that is killed: end its job, after it has saved, and remove the job's folders.

    The launcher writes a line of JSON to stdin whenever a job starts: its mark, mpirun's process, the signal that asks
    mpirun's ranks to end, the file that tells them why, and the folders; and "null" when it has ended. The end of
    stdin is that of the launcher.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)  # meant for the launcher, which decides
    job = None
    for line in sys.stdin:
        with contextlib.suppress(ValueError):  # cut short
            job = json.loads(line)
    if job is None:
        return
    patience = time.monotonic() + GRACE
    with contextlib.suppress(OSError):
        Path(job["asked"]).write_text(str(int(signal.SIGTERM)), encoding="utf-8")
    send(job["mark"], signal.SIGCONT)
    if job["mpirun"] in processes(job["mark"]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(job["mpirun"], job["signal"])
    while processes(job["mark"]) and time.monotonic() < patience:
        time.sleep(0.1)
    end_processes(job["mark"])
    for folder in job["folders"]:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    guard()
