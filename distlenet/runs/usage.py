"""What this process used of its machine, and what kept it from its core: counters of Linux, read from /proc.

On other systems, and for counters that a container hides, the figures are 0.
"""

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time, thread_time

from distlenet.numerics import find_blas
from distlenet.processes import ranges

KERNEL = Path("/proc/sys/kernel/random/boot_id")  # the same for all processes of a machine, also in containers
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100  # per second, of the times in /proc
CROWD = 3000  # processes: looking at more would take too long


@dataclass(frozen=True)
class Usage:
    """A stretch of time of one process. Its main part, the training thread, is distinguished from the other threads."""

    seconds: float  # that the stretch took
    run: float  # seconds of the training thread on a core
    delay: float  # seconds in which it could have run, but other threads or processes had the core
    helpers: float  # seconds of the other threads on a core
    faults: int  # memory pages that had to be read from the disk
    read: int  # bytes read from disks
    steal: float  # seconds in which the hypervisor took the core
    throttled: float  # seconds in which the container's limit of CPU time stopped it
    core: int  # that it last ran on; -1: unknown
    mhz: float  # that core's frequency; 0: unknown
    cores: str  # that it may run on: "0-3"
    threads: int  # of BLAS
    kernel: str  # of BLAS
    neighbour: str = ""  # the process that used these cores most, if it was looked for

    @property
    def delayed(self) -> float:
        """The share of the time, 0 to 1, in which it waited for a core, of the time in which it could have run."""
        return self.delay / max(self.run + self.delay, 1e-9)


def machine() -> str:
    """Return a name for this machine, which its containers share."""
    with suppress(OSError):
        return KERNEL.read_text(encoding="ascii").strip()
    return os.uname().nodename


class Meter:
    """Measures stretches of time one after another; to be used in the training thread."""

    def __init__(self) -> None:
        self._last = _counters()
        self._processes: dict[int, tuple[str, int, int]] = {}

    def read(self, search: bool = False) -> Usage:
        """Return the usage since the last call, or since the start.

        ``search``: also look for the process that uses this process's cores most; this takes milliseconds, and gives an
        answer from the second such call in a row on.
        """
        now, cores, core, blas = _counters(), allowed_cores(), last_core(), find_blas()
        since = {name: now[name] - self._last[name] for name in now}
        if self._last["core"] != now["core"]:  # other counters of stolen time
            since["steal"] = 0
        self._last = now
        return Usage(
            seconds=since["seconds"],
            run=since["run"],
            delay=since["delay"],
            helpers=max(since["all"] - since["run"], 0),
            faults=int(since["faults"]),
            read=int(since["read"]),
            steal=since["steal"],
            throttled=since["throttled"],
            core=core,
            mhz=_number(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq") / 1000,
            cores=ranges(sorted(cores)),
            threads=int(blas.get_threads()) if blas else 1,
            kernel=blas.kernel if blas else "?",
            neighbour=self._neighbour(cores, since["seconds"]) if search else "",
        )

    def _neighbour(self, cores: set[int], seconds: float) -> str:
        """Return the process that used most of ``cores`` in these ``seconds``: "name (process 12, 48% of a core)"."""
        before, self._processes = self._processes, dict(_processes())
        used = {
            pid: (ticks - before[pid][1]) / TICKS / seconds
            for pid, (_, ticks, core) in self._processes.items()
            if pid in before and core in cores
        }
        busiest = max(used, key=used.__getitem__, default=0)
        if used.get(busiest, 0) < 0.05:
            return ""
        return f"{self._processes[busiest][0]} (process {busiest}, {used[busiest]:.0%} of a core)"


def _counters() -> dict[str, float]:
    """Return all that only grows, in seconds, bytes and numbers."""
    run, delay = thread_time(), 0.0
    with suppress(OSError, ValueError):
        text = Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()
        run, delay = int(text[0]) / 1e9, int(text[1]) / 1e9
    core, steal = last_core(), 0
    with suppress(OSError, ValueError, IndexError):
        line = next(line for line in _lines("/proc/stat") if line.startswith(f"cpu{core} "))
        steal = int(line.split()[8])
    return {
        "seconds": perf_counter(),
        "run": run,
        "delay": delay,
        "all": process_time(),
        "faults": resource.getrusage(resource.RUSAGE_SELF).ru_majflt,
        "read": _status("read_bytes:", "/proc/self/io"),
        "steal": steal / TICKS,
        "throttled": _throttled(),
        "core": core,
    }


def allowed_cores() -> set[int]:
    """Return the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def last_core() -> int:
    """Return the core that this thread runs on; -1: unknown."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/thread-self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[36])
    return -1


def _processes() -> Iterator[tuple[int, tuple[str, int, int]]]:
    """Yield the other processes: (number, (name, ticks of CPU time, last core)); none if they are too many."""
    with suppress(OSError):
        names = [name for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()]
        for name in names if len(names) <= CROWD else ():
            with suppress(OSError, ValueError, IndexError):
                head, _, tail = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
                fields = tail.split()
                yield int(name), (head.partition("(")[2], int(fields[11]) + int(fields[12]), int(fields[36]))


def _throttled() -> float:
    """Return the seconds in which the limit of this control group stopped its processes."""
    with suppress(OSError, StopIteration):
        group = next(line for line in _lines("/proc/self/cgroup") if line.startswith("0::"))[3:]
        return _status("throttled_usec", f"/sys/fs/cgroup{group}/cpu.stat") / 1e6
    return 0.0


def _status(name: str, path: str) -> int:
    """Return the number in the line of the file that starts with ``name``; 0 without such a line."""
    with suppress(OSError, ValueError, StopIteration):
        return int(next(line for line in _lines(path) if line.startswith(name)).split()[1])
    return 0


def _number(path: str) -> float:
    with suppress(OSError, ValueError):
        return float(Path(path).read_text(encoding="ascii"))
    return 0.0


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
