"""Fixtures for all tests: the two MPIs, small datasets, and the command line as a user starts it."""

import os
import sys

assert "numpy" not in sys.modules, "numpy was loaded before the number of its threads was set"
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before numpy loads: a product's last bit depends on it

import fcntl
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import drawn
import mpi_jobs
import numpy as np
import pytest
from faults.soak import Soak

from distlenet.cli import main
from distlenet.data.sources.drawing import draw_digits
from distlenet.launching.mpirun import which_mpi

STALLS = {  # files of tests in which a rank without progress for a few seconds is taken for lost
    *("faults/test_losses", "faults/test_signals", "parallel/test_heartbeat"),
    *("parallel/test_recovery", "parallel/test_watchdog", "launching/test_attempt", "launching/test_restarts"),
}
LONGEST = [
    *("stalls", "runs/test_resume", "training/test_healing", "tests/test_readme", "hosts/test_two_hosts"),
    *("pictures/test_scenes", "training/test_same_bits", "training/test_bits", "runs/test_keeper", "runs/test_memory"),
    *("report/test_report", "training/test_lost_ranks", "commands/test_series", "faults/test_damage"),
]

Once = Callable[[str, Callable[[Path], object]], Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the tests in tests/faults."""
    group = parser.getgroup("distlenet")
    group.addoption("--soak", action="store_true", help="try every fault as often as promised, not one in fifty")
    group.addoption("--soak-report", default="soak.json", metavar="FILE", help="outcome of --soak (%(default)s)")


def pytest_configure(config: pytest.Config) -> None:
    """Set handlers, so that programs started by tests react to signals even under nohup: SIG_IGN is inherited."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGXCPU):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_make_parametrize_id(val, argname):
    """Name bytes by their argument: archives contain the time, and all workers must use the same test names."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests for several workers: each file on one worker, and those of stalls one after another."""
    groups = {}
    for item in items:
        file = f"{item.path.parent.name}/{item.path.stem}"
        groups[item] = "stalls" if file in STALLS else file
        item.add_marker(pytest.mark.xdist_group(groups[item]))
    if "PYTEST_XDIST_WORKER" in os.environ:  # the longest groups start first, so that all workers end together
        items.sort(key=lambda item: [*LONGEST, groups[item]].index(groups[item]))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name the test as on the command line, without the group that several workers add."""
    name, _, group = report.nodeid.rpartition("@")
    if name and "]" not in group:
        report.nodeid = name


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Return ``once(name, make)``: a path that ``make(path)`` made once for all workers, to be read only."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "once"
    folder.mkdir(exist_ok=True)

    def path_of(name: str, make: Callable[[Path], object]) -> Path:
        path, made = folder / name, folder / f"{name}.made"
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                make(path)
                made.touch()
        return path

    return path_of


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> Soak:
    """The number of faults to try, and the record of their outcomes."""
    return Soak(request.config.getoption("soak"), Path(request.config.getoption("soak_report")).resolve())


@pytest.fixture(scope="session", params=["openmpi", "mpich"])
def runtime(request: pytest.FixtureRequest) -> mpi_jobs.Runtime:
    """Each MPI in turn; skipped if it is not installed."""
    return _runtime(request.param)


@pytest.fixture
def any_mpi(request: pytest.FixtureRequest) -> mpi_jobs.Runtime:
    """One of the installed MPIs, chosen by the test's name, for tests that do not depend on the MPI."""
    found = [mpi_jobs.find_runtime(name) for name in ("openmpi", "mpich")]
    installed = [runtime for runtime in found if not isinstance(runtime, str)]
    if not installed:
        pytest.skip(" and ".join(map(str, found)))
    return installed[sum(request.node.name.encode()) % len(installed)]


@pytest.fixture(scope="session")
def openmpi() -> mpi_jobs.Runtime:
    """Open MPI, for tests that do not depend on the MPI."""
    return _runtime("openmpi")


@pytest.fixture(params=["openmpi", "mpich"])
def misfit(request: pytest.FixtureRequest) -> mpi_jobs.Runtime:
    """The mpirun of each MPI with the Python of the other."""
    own, other = (_runtime(name) for name in (request.param, *{"openmpi", "mpich"} - {request.param}))
    return mpi_jobs.Runtime(own.name, other.python, own.mpirun)


@pytest.fixture(scope="session")
def survivors_continue(openmpi: mpi_jobs.Runtime) -> None:
    """Skip the test if jobs do not survive lost ranks."""
    if not which_mpi().survives_losses:
        pytest.skip("jobs survive the loss of ranks under Open MPI 5 only")


def _runtime(name: str) -> mpi_jobs.Runtime:
    found = mpi_jobs.find_runtime(name)
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="session")
def mnist(once: Once) -> Path:
    """MNIST itself; skipped if $DISTLENET_MNIST does not name the folder of its files."""
    folder = os.environ.get("DISTLENET_MNIST", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("$DISTLENET_MNIST does not name the folder of MNIST's files")

    def make(path: Path) -> None:
        assert main(["prepare", "mnist", "--from", folder, "--out", str(path)]) == 0

    return once("mnist.h5", make)


@pytest.fixture(scope="session")
def digits(once: Once) -> Path:
    """A dataset of 700 and 1,350 drawn digits: two blocks of checksums in its test split."""
    return once("drawn.h5", lambda path: drawn.write(path, 700, 1350))


@pytest.fixture(scope="session")
def other_size(once: Once) -> Path:
    """Like ``digits``, but few, of 24 x 24 pixels."""
    images, labels = draw_digits(60, seed=3)
    small = np.ascontiguousarray(images[:, 2:26, 2:26])
    return once("small.h5", lambda path: drawn.write(path, (small, labels), (small[:20], labels[:20])))


@pytest.fixture(scope="session")
def distlenet() -> Callable[..., mpi_jobs.Finished]:
    """``distlenet(*words, runtime=None, ranks=1)``: the command line, in this process or under an mpirun."""
    return mpi_jobs.distlenet


@pytest.fixture(scope="session")
def summary_of() -> Callable[[Path], dict[str, Any]]:
    """``summary_of(run)``: the content of a run directory's summary.json."""
    return lambda run: json.loads((run / "summary.json").read_text())


@pytest.fixture(scope="session")
def trained(once: Once, digits: Path) -> Path:
    """The directory of a short run in one process; tests may read it, not change it."""

    def train(run: Path) -> None:
        arguments = ["train", "--data", digits, "--run", run, "--epochs", 2, "--batch-size", 64, "--display", "plain"]
        assert main([*map(str, arguments)]) == 0

    return once("trained", train)


@pytest.fixture(scope="session")
def only_sentence() -> Callable[..., None]:
    """``only_sentence(done, code, *words)``: the job printed one sentence with these words and exited with ``code``."""

    def check(done: mpi_jobs.Finished, code: int, *words: str) -> None:
        assert done.returncode == code, done.output
        assert "Traceback" not in done.output
        message = [line for line in done.output.splitlines() if "distlenet: error:" in line]
        assert len(message) == 1, done.output
        for word in words:
            assert word in message[0], message[0]

    return check
