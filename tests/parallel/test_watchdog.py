"""A hanging rank is noticed by the others, reported, and dealt with."""

import json
import re
import sys
import threading
import time
import types

import mpi_jobs
import numpy as np
import pytest
from faults import runs

from distlenet import activity
from distlenet.errors import RanksLost
from distlenet.handshake import EXIT_FILE, FAULT_TOLERANCE
from distlenet.launching.mpirun import mpirun_command
from distlenet.nn.inspection import portray
from distlenet.parallel import Serial, watchdog
from distlenet.parallel.agreement import in_agreement
from distlenet.parallel.connect import run_ranks
from distlenet.parallel.heartbeat import own_addresses
from distlenet.parallel.watchdog import is_waiting, names
from distlenet.runs.checkpoint_file import write_checkpoint
from distlenet.runs.experiment import RunOptions, set_up
from distlenet.training.signals import Signals
from distlenet.training.state import check_replicas

STALL_AFTER = 1.5
STEP = 15  # in the second epoch
WORDS = ["--epochs", 3, "--stall-after", STALL_AFTER]


def arguments(digits, run, rank, what):
    job = str(mpi_jobs.JOBS / "signalled.py")
    return [job, str(rank), what, str(STEP), *runs.train(digits, run, *WORDS)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, digits):
    run = tmp_path_factory.mktemp("whole") / "run"
    assert runs.do(runs.train(digits, run, *WORDS)).returncode == 0
    return run


@pytest.mark.parametrize(
    ("rank", "what", "message"),
    [
        (2, "SIGSTOP", r"\[rank 0/3\] distlenet: error: no sign of life from rank 2: the job ends; resume from"),
        (0, "SIGSTOP", r"\[rank [12]/3\] distlenet: error: no sign of life from rank 0: the job ends; resume from"),
        (1, "HANG", r"distlenet: error: (this rank hangs, taking a step|rank 1 hangs): the job ends; resume from"),
    ],
)
def test_the_job_ends_with_a_good_checkpoint(runtime, digits, tmp_path, whole, rank, what, message):
    run = tmp_path / "run"
    done = mpi_jobs.run(runtime.command(3, *arguments(digits, run, rank, what)))
    assert done.returncode == RanksLost.exit_code, done.output
    assert re.search(message, done.output), done.output
    for other in {0, 1, 2} - {rank}:
        place = r"epoch 2, step \d+, exchanging gradients, waiting for the others"
        assert re.search(rf"\[rank {other}/3\] no progress for [\d.]+ s in {place}", done.output), done.output
    assert runs.do([*runs.train(digits, run, *WORDS), "--resume", "auto"]).returncode == 0
    assert runs.results(run) == runs.results(whole)


def test_a_hanging_rank_ends_itself_if_the_others_can_continue(survivors_continue, digits, tmp_path, whole):
    run, code = tmp_path / "run", tmp_path / "code"
    # the watchdog's limit is short but MPI's is not: on a busy machine MPI would take working ranks for lost
    command = mpirun_command(3, fault_tolerance=True, stall_after=60)
    env = mpi_jobs.environment(**{EXIT_FILE: str(code), FAULT_TOLERANCE: "ulfm"})
    for _ in range(3):  # on a busy machine, starting Open MPI with fault tolerance occasionally fails
        done = mpi_jobs.run([*command, sys.executable, *arguments(digits, run, 1, "HANG")], env=env)
        if run.exists():
            break
    assert code.exists() and code.read_text() == "0", done.output
    assert "[rank 1/3] this rank hangs: it ends itself, and the others continue without it" in done.output
    assert runs.results(run) == runs.results(whole)


# the command line, but one rank is slow, once: in the evaluation of the first epoch, or in the root's save
SLOW = """
import os, sys, time
rank = int(os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ.get("PMI_RANK") or 0)
from distlenet.activity import advance
from distlenet.cli import main
from distlenet.data.slices import DatasetSlice
from distlenet.runs import checkpoint_file

delays = iter(range({times}))
read, lay_out = DatasetSlice.read, checkpoint_file.lay_out


def slow_read(part, chunks):
    for chunk in read(part, chunks):
        if rank == 1:
            for _ in delays:
                time.sleep({pause})
                {tick}
        yield chunk


def slow_layout(*arguments):
    for _ in delays:
        time.sleep({pause})
        {tick}
    return lay_out(*arguments)


if {where!r} == "evaluation":
    DatasetSlice.read = slow_read
else:
    checkpoint_file.lay_out = slow_layout
sys.exit(main(sys.argv[1:]))
"""
QUICK = ["--epochs", 1, "--train-sample", 50, "--validation", 100, "--stall-after", STALL_AFTER]


@pytest.mark.parametrize("where", ["evaluation", "checkpoint"])
def test_ranks_wait_for_a_rank_that_makes_progress(any_mpi, digits, tmp_path, where):
    code = SLOW.format(pause=STALL_AFTER / 2, times=4, tick="advance()", where=where)
    words = map(str, runs.train(digits, tmp_path / "run", *QUICK))
    done = mpi_jobs.run(any_mpi.command(2, "-c", code, *words)).expect()
    assert "no progress" not in done.output


def test_a_rank_without_progress_hangs(openmpi, digits, tmp_path):
    code = SLOW.format(pause=2 * STALL_AFTER, times=5, tick="pass", where="evaluation")
    words = map(str, runs.train(digits, tmp_path / "run", *QUICK))
    done = mpi_jobs.run(openmpi.command(2, "-c", code, *words))
    assert done.returncode == RanksLost.exit_code, done.output
    assert "this rank hangs, evaluating: the job ends" in done.output or "rank 1 hangs" in done.output


@pytest.fixture
def clock(monkeypatch):
    """Fake figures: seconds computed by a thread and by all, and the number of finished pieces of work."""
    found = types.SimpleNamespace(computed=0.0, helped=0.0, pieces=0)
    monkeypatch.setattr(watchdog, "pieces", lambda: found.pieces)
    monkeypatch.setattr(watchdog.time, "clock_gettime", lambda clock: found.computed)
    monkeypatch.setattr(watchdog, "working_seconds", lambda: found.helped)
    return found


def measured(clock, seconds, computes=0.0, every=0.0, waits=False, helpers=0.0):
    """Return, every half second, how long a rank counts as still.

    It computes the share ``computes`` of the time and finishes a piece of work ``every`` so many seconds.
    """
    stillness = watchdog.Stillness(threading.get_ident(), 60.0)
    started, found = stillness._looked, []
    for half in range(1, 2 * seconds + 1):
        clock.computed += computes / 2
        clock.helped += (computes + helpers) / 2
        clock.pieces += bool(every and half / 2 % every == 0)
        found.append(stillness.measure(started + half / 2, waits))
    return found


def test_stillness(clock):
    assert measured(clock, 100)[-1] == pytest.approx(99.5)
    assert max(measured(clock, 1000, every=50)) == pytest.approx(49.5)  # a slow disk
    assert max(measured(clock, 590, computes=1.0)) == 0  # one large product
    assert max(measured(clock, 590, computes=0.05)) == 0  # on a machine that is shared by many
    assert max(measured(clock, 590, helpers=1.9)) == 0  # it waits for its own threads
    assert measured(clock, 700, computes=1.0)[-1] > 690  # a product that never ends
    assert measured(clock, 700, helpers=1.0)[-1] > 690
    assert measured(clock, 100, helpers=0.01)[-1] == pytest.approx(99.5)
    assert measured(clock, 100, helpers=1.0, waits=True)[-1] == pytest.approx(99.5)
    assert measured(clock, 100, computes=1.0, waits=True)[-1] == pytest.approx(99.5)  # MPI waits busily
    assert measured(clock, 100, computes=0.001)[-1] == pytest.approx(99.5)  # it sleeps and checks now and then


@pytest.mark.parametrize("daemon", [True, False])
def test_daemons_work_for_nobody(daemon):
    over, computed = threading.Event(), threading.Event()

    def compute():
        while not over.is_set():
            sum(range(1000))
            if time.thread_time() > 0.5:
                computed.set()

    thread = threading.Thread(target=compute, daemon=daemon)
    before = watchdog.working_seconds()
    thread.start()
    try:
        assert computed.wait(60)
        found = watchdog.working_seconds() - before
    finally:
        over.set()
        thread.join()
    assert found < 0.25 if daemon else found > 0.45


def test_who_waits():
    assert not is_waiting(sys._getframe())
    found = []

    class Waiting(Serial):
        def allgather(self, value):  # not part of the package, so its caller counts
            found.append((is_waiting(sys._getframe()), activity.current_phase()))
            return [value]

    def work(comm):  # a function called from distlenet/parallel does not wait
        found.append((is_waiting(sys._getframe()), activity.current_phase()))
        with in_agreement(comm):
            found.append((is_waiting(sys._getframe()), activity.current_phase()))

    run_ranks(activity.phase("testing")(work), comm=Waiting())
    assert found == [(False, "testing"), (False, "testing"), (True, "testing")]
    assert activity.current_phase() != "testing"


@pytest.mark.parametrize("work", ["evaluate", "step", "curvature", "read", "verify", "write", "share", "portray"])
def test_long_work_counts_as_progress(work, digits, tmp_path):
    """Every kind of long work finishes pieces."""
    experiment = set_up(
        RunOptions(str(digits), str(tmp_path), flags={"batch_size": 64, "optimizer": "levenberg-marquardt"}),
        Serial(),
        Signals(),
    )
    state, leaves = experiment.state, experiment.leaves
    x, labels = leaves.load(0, 0, 0)
    gradient = np.empty_like(state.net.theta)
    layers = len(state.net.layers)
    jobs = {
        "evaluate": (lambda: experiment.epoch_end.evaluate(state.net, experiment.slices.test), 6 * layers),
        "step": (lambda: state.net.loss_and_grad(x, labels, gradient), 2 * layers),
        "curvature": (lambda: state.net.curvature(x, gradient), 2 * layers),
        "read": (lambda: leaves.own(leaves.shards), 2),
        "verify": (lambda: experiment.slices.test.digits.verify("test"), 2),
        "write": (lambda: write_checkpoint(tmp_path / "a.h5", state, experiment.config, experiment.dataset), 12),
        "share": (lambda: check_replicas(state, Serial()), 1),
        "portray": (lambda: portray(state.net, state.net.theta, x), layers),
    }
    do, expected = jobs[work]
    before = activity.pieces()
    do()
    assert activity.pieces() - before >= expected


def test_words():
    assert names([3]) == "rank 3" and names([1, 3]) == "ranks 1, 3"
    assert "127.0.0.1" in own_addresses()
    assert json.loads(json.dumps(own_addresses())) == own_addresses()
