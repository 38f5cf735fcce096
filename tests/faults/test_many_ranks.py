"""Far more ranks than cores on one host: they start, fit into memory, lose three, and end with the right bits."""

import os
import signal
import statistics
import time
from pathlib import Path

import drawn
import launches
import mpi_jobs
import pytest
from faults import runs

RANKS, SOAK_RANKS = 16, 64
MOST_MEMORY = 80.0  # MB of a rank; pages shared by ranks count once
PATIENCE = 300.0  # seconds; on two cores, 64 ranks need half a minute to start


def memory(pid: int) -> float:
    """Return the memory of a process in MB (2^20 bytes): its proportional set size."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


@pytest.mark.parametrize("name", ["openmpi", "mpich"])
def test_many_ranks_lose_three(name, soak, tmp_path):
    if isinstance(runtime := mpi_jobs.find_runtime(name), str):
        pytest.skip(runtime)
    ranks = SOAK_RANKS if soak.full else RANKS
    data, run, whole = drawn.write_again(tmp_path / "drawn.h5", ranks // 16), tmp_path / "run", tmp_path / "whole"
    options = ["--shards", ranks, "--batch-size", 4 * ranks, "--epochs", 4, "--checkpoint-every", 4]
    alone = [runtime.python, "-m", "distlenet", *runs.train(data, whole, *options)]  # its numpy may be another version
    mpi_jobs.run(alone).expect()

    fixed = ["--no-return", "--max-restarts", 1, "--stall-after", PATIENCE]
    launch = ["-n", ranks, *fixed, *runs.train(data, run, *options)]
    started = time.monotonic()
    with soak.fault(f"{ranks} ranks lose three, {name}") as fault, fault.trial(name):
        with launches.Launched(*launch, python=runtime.python) as job:
            mpi_jobs.wait_for((run / "checkpoints/last.h5").exists, job, PATIENCE)
            fault.time("from the command to the fourth step", time.monotonic() - started)
            pids = job.ranks()
            assert len(pids) == ranks
            sizes = [memory(pid) for pid in pids.values()]
            fault.measure("memory of a rank, MB", statistics.median(sizes))
            fault.measure("memory of the largest rank, MB", max(sizes))
            assert max(sizes) <= MOST_MEMORY, sizes
            for rank in (0, ranks // 3, ranks - 1):
                os.kill(pids[rank], signal.SIGKILL)
            done = job.finish(PATIENCE, farewell=30).expect()
            assert not job.left_behind()
        assert ("restart 1 of 1" in done.output) == (name == "mpich"), done.output  # Open MPI's ranks continue
        assert runs.results(run) == runs.results(whole)
        assert runs.summary(run)["ranks"] == (ranks if name == "mpich" else ranks - 3)
        assert not runs.leftovers(run)
