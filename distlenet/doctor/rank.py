"""The facts about one process: host, cores, BLAS, versions. Values are JSON, so that ranks can exchange them."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distlenet.numerics import numerics

PACKAGES = ("numpy", "h5py", "mpi4py", "rich")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # a container's limit; "max 100000" means no limit


def describe_rank() -> dict[str, Any]:
    """Return the facts about this process."""
    found = numerics()
    return {
        "host": os.uname().nodename,
        "process": os.getpid(),
        "cores": sorted(os.sched_getaffinity(0)),  # cores that it may run on
        "cores_of_host": os.cpu_count(),
        "quota": cpu_quota(),
        "blas": found["blas"],
        "kernel": found["kernel"],
        "threads": found["threads"],
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
    }


def cpu_quota(path: Path = CPU_QUOTA) -> float | None:
    """Return the container's limit of CPU time in cores; None without a limit."""
    try:
        quota, period = path.read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
