"""A Slurm of three nodes for the tests of a file, and trainings of one process to compare with."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import mpi_jobs
import pytest
from cluster import slurm as cluster
from cluster.job import DATA, SETTINGS


@pytest.fixture(scope="module")
def slurm() -> Iterator[cluster.Slurm]:
    """A Slurm; skipped if this machine cannot have one."""
    if reason := cluster.missing():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix=f"distlenet-test-{os.getpid()}-", dir="/var/tmp"))
    try:
        with cluster.Slurm(folder, shared=[mpi_jobs.ROOT, Path(sys.prefix)]) as found:
            yield found
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def alone(slurm: cluster.Slurm, digits: Path) -> Callable[[int], Path]:
    """Return ``alone(epochs)``: a run of one process on the data of the jobs."""
    data = slurm.folder / DATA
    shutil.copy(digits, data)

    def train(epochs: int) -> Path:
        run = slurm.folder / f"alone-{epochs}"
        if not run.exists():
            mpi_jobs.distlenet("train", "--data", data, "--run", run, *SETTINGS, "--epochs", epochs).expect()
        return run

    return train
