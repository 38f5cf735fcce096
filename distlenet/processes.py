"""The processes of a job on this host, found in /proc by a mark in their environment or by their parent.

Run as a program, this module is a job's guardian: see ``guard``. It uses only the standard library.
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

GRACE = 4.0  # seconds for a job without its launcher to save and end


def processes(mark: str, having: str = "") -> list[int]:
    """Return the running processes of a job on this host, mpirun included: those with ``mark`` in their environment.

    ``mark`` is "NAME=VALUE". With ``having``, "NAME=", only those that have this variable too.
    """
    entry_of_job, found = os.fsencode(mark), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # a zombie no longer has an environment
                variables = (entry / "environ").read_bytes().split(b"\0")
                if entry_of_job in variables and any(each.startswith(os.fsencode(having)) for each in variables):
                    found.append(int(entry.name))
    return found


def children(parent: int) -> set[int]:
    """Return the running child processes of ``parent``: for mpirun, its ranks on this host and its helpers."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError):
                state, ppid = _stat(int(entry.name))[:2]
                if int(ppid) == parent and state not in "ZX":
                    found.add(int(entry.name))
    return found


def mapped_files(word: str) -> set[str]:
    """Return the files mapped into this process whose path contains ``word``; empty on systems without /proc."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    except OSError:
        return set()
    return {line.split(maxsplit=5)[5] for line in maps.splitlines() if word in line}


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; raises OSError."""
    # "pid (name) state ppid ...", where the name may contain anything
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def identity() -> str:
    """Return a permanent identity of this process, usable in file names: PLACE-PID-BIRTH.

    A process number alone is reused, and means another process on another host or in another container.
    """
    return f"{_place()}-{os.getpid()}-{_stat(os.getpid())[19]}"


def is_alive(who: str) -> bool | None:
    """Whether the process with identity ``who`` exists, running or stopped; None if it is on another host or hidden.

    ``who`` may have more parts after another "-", which are ignored.
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
    """Return an identifier of this host and its process namespace (container)."""
    namespace = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{os.uname().nodename} {namespace}".encode()).hexdigest()[:8]


def ranges(numbers: list[int]) -> str:
    """Return sorted whole numbers in short form: "0-3,8"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def send(mark: str, number: int, having: str = "") -> None:
    """Send signal ``number`` to all processes of a job on this host, see ``processes``."""
    for process in processes(mark, having):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def end_processes(mark: str, having: str = "") -> None:
    """Kill the remaining processes of a job on this host: ranks outlive an mpirun that was killed."""
    send(mark, signal.SIGKILL, having)


def guard() -> None:
    """Clean up after a launcher that was killed: let its job save, end it, and remove its folders.

    Whenever a job starts, the launcher writes a line of JSON to stdin: the job's mark, mpirun's process number, the
    signal that asks the ranks to end, the file that tells them why, and the folders. When the job has ended it writes
    "null". The end of stdin means that the launcher has ended.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)  # the launcher handles these
    job = None
    for line in sys.stdin:
        with contextlib.suppress(ValueError):  # a truncated line
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
