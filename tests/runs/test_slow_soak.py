"""Of 40 slowdowns on real cores each is named, and why; noise raises no alarm. Needs two cores without other work."""

import itertools
import os
import random
import re
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
CAUSES = {  # the kinds of hampered.py, how their sizes are drawn, and the words that must be in the warning
    "load": (lambda draw: round(draw.uniform(0.4, 1.5), 2), "it loads its images slowly"),
    "threads": (lambda draw: 2, "it computes with"),
    "stress": (lambda draw: draw.randrange(6), "another process uses its core: python"),
    "shared": (lambda draw: 0, "ranks 0-1 share core"),
}
SEEDS = {"tuned": range(20), "fresh": range(20, 40)}  # limits were chosen by the first alone
NOISE = """
import os, random, sys, time
parent, draw = os.getppid(), random.Random(sys.argv[1])
while os.getppid() == parent:  # a core is busy for a while, and idle for a while
    end = time.monotonic() + draw.uniform(0.1, 4)
    while time.monotonic() < end and os.getppid() == parent: pass
    time.sleep(draw.uniform(0.1, 4))
"""


@pytest.fixture
def warnings(soak, once, openmpi, tmp_path):
    """``warnings(seconds, seed, kind, rank, size)``: about slow ranks, of a run that ends at the first one."""
    if not soak.full:
        pytest.skip("a soak test")
    data, numbers = once("many.h5", lambda path: drawn.write(path, 16000, 500)), itertools.count()

    def train(seconds, seed, kind="none", rank=0, size=0):
        run = tmp_path / f"{next(numbers)}"
        words = ["train", "--data", data, "--run", run, "--recipe", "fast", "--epochs", 10000, "--seed", seed]
        hampered = [mpi_jobs.JOBS / "hampered.py", kind, rank, size, *words, "--display", "quiet"]
        command = openmpi.command(2, *map(str, hampered))
        command[1:1] = ["--bind-to", "none"]  # hampered.py chooses the cores
        found, end = [], time.monotonic() + seconds
        with mpi_jobs.Job(command) as job:
            while not found and time.monotonic() < end:
                time.sleep(0.25)
                assert job.process.poll() is None, job.finish().output
                lines = read_lines(run / "journal.jsonl")[0] if (run / "journal.jsonl").exists() else []
                found = [str(line.get("text")) for line in lines if "wait for" in str(line.get("text"))]
            job.process.send_signal(signal.SIGTERM)
            job.finish()
        return found

    return train


@pytest.mark.parametrize("seeds", SEEDS)
def test_slowdowns_are_named(soak, warnings, seeds):
    with soak.fault(f"slow rank: {seeds} seeds") as fault:
        for seed in SEEDS[seeds]:
            draw, kind = random.Random(seed), list(CAUSES)[seed % len(CAUSES)]
            rank, (size_of, words) = seed // len(CAUSES) % 2, CAUSES[kind]
            rank, size = 0 if kind == "shared" else rank, size_of(draw)
            with fault.trial(f"seed {seed}: {kind}, rank {rank}, {size}"):
                start = time.monotonic()
                found = warnings(PATIENCE, seed, kind, rank, size)
                assert found, "not named"
                named = "ranks 0-1" if kind == "shared" else f"the other ranks wait for rank {rank}"
                assert f"{named} on {os.uname().nodename} " in found[0], found[0]
                fault.saw("rank and host named")
                fault.time("until named", time.monotonic() - start)
                if times := re.search(r"it needs ([\d.]+) ms for a leaf, they ([\d.]+) ms", found[0]):
                    fault.measure(f"{kind}: times as slow", float(times[1]) / float(times[2]))
                assert words in found[0], found[0]
                fault.saw("cause right")


@pytest.mark.parametrize("seeds", SEEDS)
def test_noise_raises_no_alarm(soak, warnings, seeds):
    with soak.fault(f"slow rank: false alarms, {seeds} seeds") as fault:
        for seed in SEEDS[seeds][::2]:
            words = [[sys.executable, "-c", NOISE, f"{seed} {number}"] for number in range(1 + seed // 2 % 3)]
            noise = [subprocess.Popen(word) for word in words]
            try:
                with fault.trial(f"seed {seed}: {len(noise)} processes of noise"):
                    assert warnings(CALM, seed) == []
            finally:
                for process in noise:
                    process.kill()
                    process.wait()
