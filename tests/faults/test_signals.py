"""The effect of each signal, by target: in one process, under both MPIs and under launch. By default a dozen cases.

A run saves and ends, or continues, and names its signal; no process and no folder is left behind.
"""

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import launches
import mpi_jobs
import pytest
from faults import runs

from distlenet.processes import is_alive, processes

END = {"HUP": 129, "INT": 130, "QUIT": 131, "TERM": 143, "XCPU": 152, "USR2": 140}
LAUNCHES = ("launch-openmpi", "launch-mpich")
SAVED, ENDED, MAYBE = "saved", "ended", "maybe saved"


@dataclass(frozen=True)
class Row:
    """Signal ``name`` to ``target`` of a run started like ``setup``: the exit code, and whether and why it saves."""

    setup: str
    target: str  # "start": what the user started; "group": its process group; "mpirun"; "rank": the last one
    name: str
    code: int
    saved: str = SAVED
    called: str = ""  # the signal that the run names, if it is a different one

    def __str__(self) -> str:
        return f"{self.setup}-{self.target}-{self.name}"


ROWS = [
    *(Row("one", "start", name, code) for name, code in END.items()),
    *(Row(setup, target, name, END[name]) for setup in LAUNCHES for target in ("start", "group") for name in END),
    *(Row(setup, "rank", name, END[name]) for setup in ("openmpi", "mpich", *LAUNCHES) for name in END),
    *(Row(setup, "start", "KILL", -9, called="TERM") for setup in LAUNCHES),
    # its ranks save if the remaining time is enough
    *(Row("launch-openmpi", "mpirun", name, 128 + number, MAYBE) for name, number in (("KILL", 9), ("QUIT", 3))),
    Row("launch-mpich", "mpirun", "KILL", 137, ENDED),
    # Open MPI's mpirun gives its ranks half a second after these, and sends SIGTERM for all of them
    *(Row("openmpi", target, name, 1, MAYBE) for target in ("start", "group") for name in ("HUP", "INT", "TERM")),
    *(Row("openmpi", "start", name, END[name]) for name in ("XCPU", "USR2")),
    *(Row("openmpi", "start", name, code, called="TERM") for name, code in (("QUIT", -3), ("KILL", -9))),
    *(Row("mpich", target, name, END[name]) for target in ("start", "group") for name in ("INT", "QUIT", "TERM")),
    # MPICH's mpirun dies of these, and takes its ranks with it
    *(Row("mpich", "start", name, -number, ENDED) for name, number in (("HUP", 1), ("XCPU", 24), ("USR2", 12))),
    Row("mpich", "start", "KILL", -9, ENDED),
]
TELLING = {
    *("one-start-HUP", "one-start-XCPU", "one-start-QUIT"),
    *("launch-openmpi-start-INT", "launch-openmpi-group-HUP", "launch-openmpi-start-KILL", "launch-openmpi-rank-HUP"),
    *("launch-openmpi-mpirun-KILL", "launch-mpich-start-XCPU", "openmpi-start-KILL", "openmpi-rank-USR2"),
    "mpich-start-QUIT",
}


def pytest_generate_tests(metafunc):
    if "row" in metafunc.fixturenames:
        rows = [row for row in ROWS if metafunc.config.getoption("soak") or str(row) in TELLING]
        metafunc.parametrize("row", rows, ids=str)


@contextmanager
def start(setup, digits, run, *options):
    """Return the job of a run that continues until it is ended, once it has saved."""
    words = runs.train(digits, run, "--epochs", 100_000, "--validation", 50, *options)
    kind = setup.removeprefix("launch-")
    runtime = None if kind == "one" else mpi_jobs.find_runtime(kind)
    if isinstance(runtime, str):
        pytest.skip(runtime)
    if setup in LAUNCHES:
        job = launches.Launched("-n", 2, "--stall-after", 3, *words, python=runtime.python)
    else:
        job = launches.Marked(runs.command(words, runtime, 2))
    with job:
        mpi_jobs.wait_for(lambda: runs.saved(run), job)
        yield job


def send(job, row):
    number = getattr(signal, f"SIG{row.name}")
    if row.target == "group":
        os.killpg(job.process.pid, number)
    else:
        target = {"start": lambda: job.process.pid, "mpirun": job.mpirun, "rank": lambda: max(job.ranks().items())[1]}
        os.kill(target[row.target](), number)


def test_signal(digits, tmp_path, row):
    run = tmp_path / "run"
    with start(row.setup, digits, run) as job:
        before = runs.newest(run).progress.steps
        send(job, row)
        done = job.finish()  # and no process outlives it by 5 s
        assert not job.left_behind()
    codes = {row.code, 143} if row.setup in LAUNCHES and row.saved == MAYBE else {row.code}
    assert done.returncode in codes, done.output
    assert "Traceback" not in done.output
    position = runs.newest(run).progress.steps
    assert position >= before
    has_summary = (run / "summary.json").exists()
    assert has_summary if row.saved == SAVED else row.saved == MAYBE or not has_summary, done.output
    if has_summary:
        called = row.called or ("TERM" if row.saved == MAYBE else row.name)
        assert runs.summary(run)["status"] == f"stopped by SIG{called}"
        assert runs.summary(run)["steps"] == position


@pytest.mark.parametrize("setup", ["one", "openmpi", "mpich", *LAUNCHES])
def test_sigusr1_saves_and_continues(soak, digits, tmp_path, setup):
    if not soak.full and setup != "launch-mpich":
        return
    run = tmp_path / "run"
    with start(setup, digits, run) as job:
        job.process.send_signal(signal.SIGUSR1)
        mpi_jobs.wait_for(lambda: "reason=requested " in job.output_so_far(), job)
        epochs = job.output_so_far().count(" epoch epoch=")
        mpi_jobs.wait_for(lambda: job.output_so_far().count(" epoch epoch=") > epochs + 1, job)


def states(job):
    """Return the states of the ranks: "T" is stopped."""
    return {Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in job.ranks().values()}


@pytest.mark.parametrize("setup", LAUNCHES)
def test_ctrl_z_stops_the_job_and_fg_continues_it(soak, digits, tmp_path, setup):
    if not soak.full and setup != "launch-openmpi":
        return
    run = tmp_path / "run"
    with start(setup, digits, run) as job:
        job.process.send_signal(signal.SIGTSTP)
        mpi_jobs.wait_for(lambda: states(job) == {"T"}, job)
        epochs = job.output_so_far().count(" epoch epoch=")
        time.sleep(5)  # longer than --stall-after: neither watchdog nor MPI considers a rank lost
        assert job.output_so_far().count(" epoch epoch=") <= epochs + 1  # one line may still have been in flight
        job.process.send_signal(signal.SIGCONT)
        mpi_jobs.wait_for(lambda: job.output_so_far().count(" epoch epoch=") > epochs + 3, job)
        job.process.send_signal(signal.SIGHUP)
        done = job.finish()
        assert not job.left_behind()
    assert done.returncode == 129, done.output
    assert runs.summary(run)["ranks"] == 2
    assert "lost" not in done.output and "no progress" not in done.output


def test_a_launcher_killed_while_stopped(soak, digits, tmp_path):
    run = tmp_path / "run"
    with start("launch-openmpi", digits, run) as job:
        job.process.send_signal(signal.SIGTSTP)
        mpi_jobs.wait_for(lambda: states(job) == {"T"}, job)
        job.process.kill()
        done = job.finish()
        assert not job.left_behind()
    assert runs.summary(run)["status"] == "stopped by SIGTERM", done.output


SLOW_SAVE = """
import os

if "OMPI_COMM_WORLD_RANK" in os.environ:
    import pathlib, time
    from distlenet.parallel.orphan import launcher_is_gone
    from distlenet.runs import checkpoint_file

    lay_out = checkpoint_file.lay_out

    def slow(*arguments):
        if launcher_is_gone():
            pathlib.Path({mark!r}).touch()
            time.sleep(2)
        return lay_out(*arguments)

    checkpoint_file.lay_out = slow
"""


def test_a_slow_save_after_mpirun_was_killed_is_finished_and_resumed(survivors_continue, digits, tmp_path):
    # Open MPI ends a rank in the first call of MPI that comes a second after the death of its mpirun
    run, mark = tmp_path / "run", tmp_path / "started"
    (tmp_path / "sitecustomize.py").write_text(SLOW_SAVE.format(mark=str(mark)))
    words = runs.train(digits, run, "--epochs", 100_000, "--validation", 50)
    path = f"{tmp_path}{os.pathsep}{mpi_jobs.ROOT}"
    with launches.Launched("-n", 2, "--max-restarts", 1, *words, PYTHONPATH=path) as job:
        mpi_jobs.wait_for(lambda: runs.saved(run), job)
        os.kill(job.mpirun(), signal.SIGKILL)
        mpi_jobs.wait_for(lambda: "restart 1 of 1" in job.output_so_far() + job._read(1), job)
        if mark.exists():  # on a busy machine MPI may end the rank before its save has started
            assert (run / "checkpoints/last.h5").stat().st_mtime > mark.stat().st_mtime + 1.5
        mpi_jobs.wait_for(lambda: "resuming from" in job.output_so_far(), job)
        job.process.send_signal(signal.SIGTERM)
        assert job.finish().returncode == 143


def test_a_signal_that_is_ignored_at_the_start_stays_ignored(digits, tmp_path):
    run = tmp_path / "run"
    words = runs.command(runs.train(digits, run, "--epochs", 100_000, "--validation", 50))
    with launches.Marked(["nohup", *words]) as job:
        mpi_jobs.wait_for(lambda: runs.saved(run), job)
        job.process.send_signal(signal.SIGHUP)
        epochs = job.output_so_far().count(" epoch epoch=")
        mpi_jobs.wait_for(lambda: job.output_so_far().count(" epoch epoch=") > epochs + 1, job)
        job.process.send_signal(signal.SIGTERM)
        assert job.finish().returncode == 143


def test_an_identity_is_never_reused():
    from distlenet.processes import identity

    place, pid, birth = identity().split("-")
    assert int(pid) == os.getpid() and is_alive(identity())
    assert is_alive(f"{place}-{pid}-{int(birth) + 1}") is False  # its number was given to another process
    assert is_alive(f"{place}-{2**22 + 1}-{birth}") is False
    assert is_alive(f"{'0' * 8}-{pid}-{birth}") is None  # of another host
    assert not processes("NO=such job")
    assert is_alive(f"{identity()}-{0:032x}")


def test_folders_of_dead_launchers_are_removed_at_the_next_start(monkeypatch, tmp_path):
    from distlenet.launching import scratch
    from distlenet.processes import identity

    place, pid, birth = identity().split("-")
    monkeypatch.setattr(scratch, "SHARED_MEMORY", str(tmp_path))
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    dead, alive, foreign = f"{place}-{pid}-1", identity(), f"{'0' * 8}-{pid}-{birth}"
    kept = [f".distlenet-{alive}-abc", f".distlenet-{foreign}-abc", ".distlenet-mine", f"other-{dead}-abc"]
    for name in [f".distlenet-{dead}-abc", f"distlenet-{dead}-abc", *kept]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / f".distlenet-{dead}-link").symlink_to(tmp_path / ".distlenet-mine")
    with scratch.scratch(alive, None) as place:
        assert len(place.folders) == 2
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([*kept, f".distlenet-{dead}-link"])
    assert all((tmp_path / name / "file").exists() for name in kept)
