"""Of 40 slowdowns on real cores each is named, and why; noise raises no alarm. Needs two cores without other work."""

import itertools
import os
import signal
import subprocess
import sys
import time

import drawn
import mpi_jobs
import pytest

from distlenet.runs.record import read_lines

PATIENCE = 30.0  # seconds until a slow rank must be named
CALM = 30.0  # seconds without an alarm
NAMED = {  # the kinds of hampered.py, sizes, and the words that must be in the warning
    "load": ((0.4, 0.5, 0.7, 1, 1.5), "it loads its images slowly"),
    "threads": ((2,) * 5, "it computes with"),
    "stress": ((0, 0, 0, 1, 2), "another process uses its core: python"),
    "shared": ((0,) * 5, "ranks 0-1 share core"),
}
NOISE = """
import os, random, time
parent = os.getppid()
while os.getppid() == parent:  # a core is busy for a while, and idle for a while
    end = time.monotonic() + random.uniform(0.1, 4)
    while time.monotonic() < end and os.getppid() == parent: pass
    time.sleep(random.uniform(0.1, 4))
"""


@pytest.fixture
def warnings(soak, once, openmpi, tmp_path):
    """``warnings(seconds, kind, rank, size)``: those about slow ranks, of a run that ends at the first one."""
    if not soak.full:
        pytest.skip("a soak test")
    data, numbers = once("many.h5", lambda path: drawn.write(path, 16000, 500)), itertools.count()

    def train(seconds, kind, rank=0, size=0):
        run = tmp_path / f"{next(numbers)}"
        words = ["train", "--data", data, "--run", run, "--recipe", "fast", "--epochs", 10000, "--display", "quiet"]
        hampered = [str(mpi_jobs.JOBS / "hampered.py"), kind, rank, size, *words]
        command = openmpi.command(2, *map(str, hampered))
        command[1:1] = ["--bind-to", "none"]  # hampered.py chooses the cores
        found, end = [], time.monotonic() + seconds
        with mpi_jobs.Job(command) as job:
            while not found and time.monotonic() < end:
                time.sleep(0.5)
                assert job.process.poll() is None, job.finish().output
                lines = read_lines(run / "journal.jsonl")[0] if (run / "journal.jsonl").exists() else []
                found = [str(line.get("text")) for line in lines if "wait for" in str(line.get("text"))]
            job.process.send_signal(signal.SIGTERM)
            job.finish()
        return found

    return train


@pytest.mark.parametrize("kind", NAMED)
def test_slowdowns_are_named(soak, warnings, kind):
    sizes, words = NAMED[kind]
    with soak.fault(f"slow rank: {kind}") as fault:
        for rank, size in itertools.product((0, 1), sizes):
            with fault.trial(f"rank {rank}, {size}"):
                start = time.monotonic()
                found = warnings(PATIENCE, kind, 0 if kind == "shared" else rank, size)
                fault.time("until named", time.monotonic() - start)
                assert found, "not named"
                named = "ranks 0-1" if kind == "shared" else f"the other ranks wait for rank {rank}"
                assert f"{named} on {os.uname().nodename} " in found[0], found[0]
                assert words in found[0], found[0]


def test_noise_raises_no_alarm(soak, warnings):
    with soak.fault("slow rank: false alarms") as fault:
        for number in range(20):
            noise = [subprocess.Popen([sys.executable, "-c", NOISE]) for _ in range(1 + number % 3)]
            try:
                with fault.trial(f"{len(noise)} processes of noise"):
                    assert warnings(CALM, "none") == []
            finally:
                for process in noise:
                    process.kill()
                    process.wait()
