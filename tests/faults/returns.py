"""Runs under ``distlenet launch`` whose lost ranks are replaced, and the checks that they must pass."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import launches
import mpi_jobs
from faults import runs

# while ranks are missing, the root waits after each step: the run must not end before they are replaced
PATIENT = """import time
short = False
def on_event(event):
    global short
    text, step = getattr(event, "text", ""), type(event).__name__ == "StepDone"
    what = "step" if step else "filled" if "FILL" in text or "now (" in text else "lost" if "LOSS" in text else ""
    if what in ("filled", "lost"):
        short = what == "lost" or "FILL" not in text
    if what:
        with open(__file__ + ".times", "a") as times:
            print(time.monotonic(), what, file=times)
    if step and short:
        time.sleep(0.1)
        with open(__file__ + ".times", "a") as times:
            print(time.monotonic(), "waited", file=times)
"""
LOSS, FILL = "ranks lost", "again ("
EPOCHS = 10


def words(data: Path, run: Path, *options: object, until: str = FILL, short: bool = False) -> list[str]:
    """Return the arguments of a training that waits for ranks until a notice says so; ``short``: from the start."""
    callback = run.with_name("patient.py")
    text = PATIENT.replace("LOSS", LOSS).replace("FILL", until).replace("= False", f"= {short}", 1)
    callback.write_text(text)
    return runs.train(data, run, "--epochs", EPOCHS, "--callback", f"{callback}:on_event", *options)


def lines(run: Path) -> list[dict]:
    """Return the lines of the journal so far."""
    journal = run / runs.FIRST_WRITES
    text = journal.read_text() if journal.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def notices(run: Path) -> list[str]:
    """Return the notices in the journal so far."""
    return [line["text"] for line in lines(run) if line["kind"] == "notice"]


def count(run: Path, text: str) -> int:
    """Return how many notices contain ``text``."""
    return sum(text in notice for notice in notices(run))


def kill(job: launches.Launched, pid: int) -> None:
    """Kill a rank."""
    assert pid in job.rank_processes()
    os.kill(pid, signal.SIGKILL)


def lose_and_refill(job: launches.Launched, run: Path, pid: int) -> set[int]:
    """Kill a rank, wait until it is replaced, and return the processes of the ranks then."""
    lost, filled = count(run, LOSS), count(run, FILL)
    kill(job, pid)
    mpi_jobs.wait_for(lambda: count(run, LOSS) > lost and count(run, FILL) > filled, job)
    return set(job.rank_processes())


def wait_until_training(job: launches.Launched, run: Path) -> None:
    """Wait until the first steps are taken."""
    mpi_jobs.wait_for(lambda: any(line["kind"] == "step" for line in lines(run)), job)


def same_bits(run: Path, whole: Path, ranks: int) -> None:
    """Check that the run ended like ``whole``, with ``ranks`` ranks."""
    assert runs.results(run) == runs.results(whole)
    assert runs.summary(run)["ranks"] == ranks
    assert not runs.leftovers(run)


def pauses(run: Path, what: str) -> list[float]:
    """Return the seconds between the steps before and after each time that ranks were "lost" or "filled"."""
    lines = run.with_name("patient.py.times").read_text().splitlines()
    rows = [(float(moment), kind) for moment, kind in map(str.split, lines)]
    found = []
    for place in (place for place, (_, kind) in enumerate(rows) if kind == what):
        before = [moment for moment, kind in rows[:place] if kind in ("step", "waited")]
        after = [moment for moment, kind in rows[place:] if kind == "step"]
        if before and after:
            found.append(after[0] - before[-1])
    return found


def exchange_file(path: Path, other: Path) -> None:
    """Put ``other`` in the place of a file that processes have open."""
    shutil.copy(other, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def open_ports(processes: set[int]) -> list[str]:
    """Return the listening TCP sockets of ``processes`` that other hosts can reach; none if `ss` is not installed."""
    if shutil.which("ss") is None:
        return []
    lines = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    own = [line for line in lines if any(f"pid={pid}," in line for pid in processes)]
    return [line for line in own if not re.search(r"%lo:|\s127\.", line)]
