"""Fixtures shared by the tests of faults."""

from collections.abc import Callable
from pathlib import Path

import mpi_jobs
import pytest
from faults import returns, runs


@pytest.fixture(scope="session")
def runtimes() -> list[mpi_jobs.Runtime]:
    """The installed MPIs."""
    found = [mpi_jobs.find_runtime(name) for name in ("openmpi", "mpich")]
    return [runtime for runtime in found if not isinstance(runtime, str)]


@pytest.fixture(scope="session")
def whole(once: Callable[..., Path], digits: Path) -> Path:
    """An undisturbed run of four epochs of eleven steps; tests may read it but not change it."""

    def train(run: Path) -> None:
        runs.do(runs.train(digits, run, "--epochs", 4, "--checkpoint-every", 3)).expect()

    return once("undisturbed", train)


@pytest.fixture(scope="session")
def alone(survivors_continue: None, once: Callable[..., Path], digits: Path) -> Path:
    """An undisturbed run in one process, with the settings of runs whose ranks are replaced; only to be read."""
    return once("alone", lambda run: runs.do(returns.words(digits, run)).expect())
