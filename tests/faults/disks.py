"""Small disks, folders without permissions, and limits, for tests that may create them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LIMITED = (
    "import os, resource, sys; size = int(sys.argv[1]); "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)); os.execv(sys.argv[2], sys.argv[2:])"
)
POWERLESS = (  # root, but permissions count: without the capabilities DAC_OVERRIDE and DAC_READ_SEARCH
    "import ctypes, os, sys; prctl = ctypes.CDLL(None).prctl; "
    "prctl(24, 1, 0, 0, 0), prctl(24, 2, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


@contextmanager
def small_disk(place: Path, mebibytes: int) -> Iterator[Path]:
    """Yield a disk of that size, mounted at ``place``; skip the test if mounting is not permitted."""
    place.mkdir()
    mounted = mount("-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(place))
    if mounted is not None:
        pytest.skip(f"a small disk cannot be mounted: {mounted}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=60)


def mount(*arguments: str) -> str | None:
    """Call mount; return the reason if it failed, else None."""
    if os.getuid() != 0:
        return "only root can"
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip()


def fill(disk: Path, spare: int) -> Path:
    """Fill the disk except for about ``spare`` bytes; return the file to remove afterwards."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            file.truncate(max(0, filler.stat().st_size - spare))
    return filler


def limited(size: int, command: list[str]) -> list[str]:
    """Return the command line for a process that cannot write files larger than ``size`` bytes."""
    return [sys.executable, "-c", LIMITED, str(size), *command]


def powerless(command: list[str]) -> list[str]:
    """Return the command line for a process that must obey file permissions, even if we are root."""
    return [sys.executable, "-c", POWERLESS, *command] if os.getuid() == 0 else command


@contextmanager
def no_writing(*folders: Path) -> Iterator[None]:
    """Remove write permission from these folders."""
    for folder in folders:
        folder.chmod(0o555)
    try:
        tried = powerless(["/usr/bin/env", "touch", str(folders[0] / "file")])
        if subprocess.run(tried, check=False, timeout=60, capture_output=True).returncode == 0:
            pytest.skip("permissions do not stop anybody here")
        yield
    finally:
        for folder in folders:
            folder.chmod(0o755)
