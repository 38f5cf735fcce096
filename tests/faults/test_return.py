"""Lost ranks are replaced, and a run grows and shrinks, while it trains: with the bits of one process."""

import json
import os
import random
import signal
import socket
import sys
from pathlib import Path

import drawn
import launches
import mpi_jobs
import pytest
import two_hosts
from faults import returns, runs

import distlenet.launching.door as launching_door
from distlenet.errors import LaunchError
from distlenet.handshake import RANKS as WANTED
from distlenet.handshake import SECRET
from distlenet.launching import mpirun
from distlenet.launching.door import NAME, Door, ask, why_fixed

RANKS = 3
KILLS = 100  # runs, each with one to three kills
GROWN = 20
FAR = 10
LAUNCH = ["-n", RANKS, "--return", "--stall-after", 30]
MODEL = """from distlenet.nn.models import lenet5
def build(image_shape, classes):
    return lenet5(image_shape, classes)
"""


@pytest.fixture(scope="module")
def alone(survivors_continue, digits, tmp_path_factory):
    run = tmp_path_factory.mktemp("alone") / "run"
    runs.do(returns.words(digits, run)).expect()
    return run


@pytest.mark.parametrize("victim", ["root", "last"])
def test_a_killed_rank_is_replaced(alone, digits, tmp_path, victim):
    run = tmp_path / "run"
    with launches.Launched(*LAUNCH, *returns.words(digits, run)) as job:
        returns.wait_until_training(job, run)
        before = job.rank_processes()
        lost = runs.root_of(run) if victim == "root" else max(set(before) - {runs.root_of(run)})
        after = returns.lose_and_refill(job, run, lost)
        assert len(after & set(before)) == RANKS - 1 and len(after) == RANKS
        if victim == "last":  # the new rank may be lost too
            assert len(returns.lose_and_refill(job, run, min(after - set(before)))) == RANKS
        done = job.finish().expect()
        assert not job.left_behind(), done.output
    returns.same_bits(run, alone, RANKS)
    changes = runs.summary(run)["ranks_changed"]
    assert [change["ranks"] for change in changes] == [RANKS] * (2 if victim == "last" else 1)
    assert "Traceback" not in done.output, done.output


@pytest.mark.parametrize("what", ["data", "code"])
def test_a_newcomer_that_differs_is_turned_away(survivors_continue, digits, tmp_path, what):
    run, data, model = tmp_path / "run", tmp_path / "data.h5", tmp_path / "model.py"
    returns.exchange_file(data, digits)
    model.write_text(MODEL)
    options = ["--model", f"{model}:build"]
    other = drawn.write_again(tmp_path / "other.h5", 2)
    with launches.Launched(*LAUNCH, *returns.words(data, run, *options, "--epochs", 3)) as job:
        returns.wait_until_training(job, run)
        if what == "data":
            returns.exchange_file(data, other)
        else:
            model.write_text(MODEL + "# changed\n")
        returns.kill(job, max(set(job.rank_processes()) - {runs.root_of(run)}))
        done = job.finish().expect()
    reason = {"data": "it has a dataset with fingerprint", "code": f"it has {model}:build with the source of"}[what]
    assert f"cannot join: {reason}" in done.output and "the run continues with 2 ranks" in done.output
    returns.exchange_file(data, digits)
    model.write_text(MODEL)
    whole = tmp_path / "whole"
    runs.do(returns.words(data, whole, *options, "--epochs", 3)).expect()
    returns.same_bits(run, whole, RANKS - 1)


def test_ranks_are_not_replaced_if_unwanted(alone, digits, tmp_path):
    run = tmp_path / "run"
    words = runs.train(digits, run, "--epochs", returns.EPOCHS)
    with launches.Launched("-n", RANKS, *words) as job:
        returns.wait_until_training(job, run)
        returns.kill(job, job.rank_processes()[-1])
        job.finish().expect()
    returns.same_bits(run, alone, RANKS - 1)


def resize(run, ranks):
    return mpi_jobs.distlenet("resize", run, str(ranks))


def test_a_run_grows_and_shrinks(alone, digits, tmp_path):
    run = tmp_path / "run"
    with launches.Launched("-n", 2, "--return", *returns.words(digits, run, until="left: 1 rank", short=True)) as job:
        returns.wait_until_training(job, run)
        before = job.rank_processes()
        resize(run, 5).expect(7, "5 ranks, but the run has 4 shards: expected at most 4 ranks")
        resize(run, 3).expect()
        mpi_jobs.wait_for(lambda: returns.count(run, ": 3 ranks now"), job)
        assert len(set(before) & set(job.rank_processes())) == 2
        resize(run, 1).expect()  # two leave at once
        mpi_jobs.wait_for(lambda: returns.count(run, "2 ranks left: 1 rank now"), job)
        done = job.finish().expect()
        assert not job.left_behind(), done.output
    returns.same_bits(run, alone, 1)
    assert [change["ranks"] for change in runs.summary(run)["ranks_changed"]] == [3, 1]
    resize(run, 3).expect(6, "is not in progress: launch it with the ranks you want")


def test_the_door_opens_only_with_the_secret(tmp_path):
    door = Door(tmp_path, 2, None)
    try:
        assert os.stat(tmp_path / NAME).st_mode & 0o777 == os.stat(tmp_path / SECRET).st_mode & 0o777 == 0o600
        ask(tmp_path, 3)
        assert (tmp_path / WANTED).read_text() == "3"
        with pytest.raises(LaunchError, match="expected a number of ranks of at least 1, got 0"):
            ask(tmp_path, 0)
        secret = (tmp_path / SECRET).read_text()
        for wrong in ("", "0" * 64, secret[:-1]):
            (tmp_path / SECRET).write_text(wrong)
            with pytest.raises(LaunchError, match="does not show the job's secret"):
                ask(tmp_path, 4)
        with socket.socket(socket.AF_UNIX) as guest:
            guest.connect(str(tmp_path / NAME))
            guest.sendall(b"{")
            assert json.loads(guest.recv(1000)) == "the request is damaged"
        assert (tmp_path / WANTED).read_text() == "3"
    finally:
        door.close()
    with pytest.raises(LaunchError, match="cannot reach the launcher"):
        ask(tmp_path, 3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"command": "repeat"}, "the ranks of repeat stay as they are"),
        ({"starter": ("srun", "--mpi=pmix")}, "srun starts no further ranks"),
        ({"returns": False}, "it was started without --return"),
        ({"ranks": 1}, "it was started with one rank; start it with two, which may change"),
        ({}, "MPICH cannot change the number of ranks of a running job; Open MPI 5 can"),
    ],
    ids=["repeat", "srun", "no return", "one rank", "MPICH"],
)
def test_where_ranks_cannot_change_a_sentence_says_so(monkeypatch, tmp_path, options, reason):
    mpi = mpirun.Mpirun("mpirun", *(("Open MPI", "5.0.11") if options else ("MPICH", "5.0.2")))
    monkeypatch.setattr(launching_door, "which_mpi", lambda: mpi)
    usual = {"command": "train", "ranks": 2, "starter": (), "tolerant": True, "returns": True}
    door = Door(tmp_path, 2, why_fixed(**(usual | options)))
    with pytest.raises(LaunchError, match=f"the launcher of this run refuses: {reason}"):
        ask(tmp_path, 3)
    door.close()


def test_resize_needs_a_run_that_launch_started(digits, tmp_path):
    runs.do(runs.train(digits, tmp_path / "run", "--epochs", 1)).expect()
    resize(tmp_path / "run", 2).expect(6, "no run that `distlenet launch` started is in progress in ")
    resize(tmp_path / "none", 2).expect(6)


def only_with_soak(soak):
    if not soak.full:
        pytest.skip("only with --soak")


def test_soak_ranks_are_killed_and_replaced(alone, soak, digits, tmp_path):
    only_with_soak(soak)
    with soak.fault("kill -9 of ranks, root and new ones included, until they are replaced") as fault:
        for trial in range(soak.count(KILLS)):
            chance, run = random.Random(trial), tmp_path / f"{trial}" / "run"
            run.parent.mkdir()
            words = returns.words(digits, run)
            with fault.trial(f"run {trial}"), launches.Launched("-n", 4, "--return", *words) as job:
                returns.wait_until_training(job, run)
                kills = chance.randint(1, 3)
                for _ in range(kills):
                    before = set(job.rank_processes())
                    target = chance.choice(sorted(before))
                    after = returns.lose_and_refill(job, run, target)
                    assert len(after) == 4 and before - {target} < after
                done = job.finish().expect()
                assert not job.left_behind() and "Traceback" not in done.output, done.output
                returns.same_bits(run, alone, 4)
                fault.saw(f"{kills} kills")
                for lost, filled in zip(returns.pauses(run, "lost"), returns.pauses(run, "filled"), strict=False):
                    fault.time("lost per kill", lost + filled)
                    fault.time("pause for the return", filled)


def test_soak_runs_grow_and_shrink(alone, soak, digits, tmp_path):
    only_with_soak(soak)
    with soak.fault("a run that grows from 2 to 4 ranks and back") as fault:
        for trial in range(soak.count(GROWN)):
            run = tmp_path / f"{trial}" / "run"
            run.parent.mkdir()
            words = returns.words(digits, run, until="left: 2 ranks", short=True)
            with fault.trial(f"run {trial}"), launches.Launched("-n", 2, "--return", *words) as job:
                returns.wait_until_training(job, run)
                for size in (4, 2):
                    resize(run, size).expect()
                    mpi_jobs.wait_for(lambda size=size, run=run: returns.count(run, f": {size} ranks now"), job)
                done = job.finish().expect()
                assert not job.left_behind() and "Traceback" not in done.output, done.output
                returns.same_bits(run, alone, 2)
                for seconds in returns.pauses(run, "filled"):
                    fault.time("pause for a change", seconds)


def test_soak_ranks_on_another_host_are_replaced(alone, soak, digits, tmp_path):
    only_with_soak(soak)
    if reason := two_hosts.missing():
        pytest.skip(reason)
    with soak.fault("kill -9 of a rank on another host, until it is replaced there") as fault:
        for trial in range(soak.count(FAR)):
            run = tmp_path / f"{trial}" / "run"
            run.parent.mkdir()
            with fault.trial(f"run {trial}"), two_hosts.TwoHosts() as hosts:
                words = ["-n", 4, "--return", "--hosts", "h1:2,h2:2", *returns.words(digits, run)]
                program = [sys.executable, "-P", "-m", "distlenet", "launch", *map(str, words)]
                far = {"PRTE_MCA_plm_ssh_agent": str(hosts.remote_shell)}
                with launches.Marked(hosts.on("h1", *program), **far) as job:
                    returns.wait_until_training(job, run)
                    there = set(hosts.processes("h2")) & set(rank_processes_on(hosts, "h2"))
                    os.kill(random.Random(trial).choice(sorted(there)), signal.SIGKILL)
                    mpi_jobs.wait_for(lambda run=run: returns.count(run, returns.FILL), job)
                    assert len(rank_processes_on(hosts, "h2")) == 2
                    job.finish().expect()
                returns.same_bits(run, alone, 4)
                fault.time("pause for the return", returns.pauses(run, "filled")[0])


def rank_processes_on(hosts, host):
    """Return the processes of the ranks on ``host``."""
    found = []
    for pid in hosts.processes(host):
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if b"OMPI_COMM_WORLD_RANK=" in variables:
            found.append(pid)
    return found
