"""Lost ranks are replaced, and a run grows and shrinks, while it trains: with the bits of one process."""

import os
import random
import signal
import sys
from pathlib import Path

import launches
import mpi_jobs
import pytest
import two_hosts
from faults import newcomers, returns, runs

from distlenet.errors import RanksLost
from distlenet.launching.restarts import STUCK

RANKS = 3
KILLS = 100  # runs, each with one to three kills
GROWN = 20
FAR = 10
LAUNCH = ["-n", RANKS, "--stall-after", 30]


@pytest.mark.parametrize("victim", ["root", "last"])
def test_a_killed_rank_is_replaced(alone, digits, tmp_path, victim):
    run = tmp_path / "run"
    with launches.Launched(*LAUNCH, *returns.words(digits, run)) as job:
        returns.wait_until_training(job, run)
        before = job.rank_processes()
        lost = runs.root_of(run) if victim == "root" else max(set(before) - {runs.root_of(run)})
        after = returns.lose_and_refill(job, run, lost)
        assert len(after & set(before)) == RANKS - 1 and len(after) == RANKS
        assert not returns.open_ports(after)
        if victim == "last":  # the new rank may be lost too
            assert len(returns.lose_and_refill(job, run, min(after - set(before)))) == RANKS
        done = job.finish().expect()
        assert not job.left_behind(), done.output
    returns.same_bits(run, alone, RANKS)
    changes = runs.summary(run)["ranks_changed"]
    assert [change["ranks"] for change in changes] == [RANKS] * (2 if victim == "last" else 1)
    assert "Traceback" not in done.output, done.output


def test_a_job_that_gets_stuck_whenever_a_rank_joins(survivors_continue, digits, tmp_path):
    # rank 1 is lost in the first step; when its replacement joins, the root hangs in MPI: no progress is ever saved
    stuck = """from distlenet.training import loop
from distlenet.training.crew import Crew
if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
    loop.take_step = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
def hang(crew):
    from distlenet.parallel.mpi_return import start_again
    start_again()
Crew.change = hang"""
    run = tmp_path / "run"
    words = returns.words(digits, run, "--batch-size", 4)  # 160 steps: the replacement joins within the first epoch
    done = launches.launched(*words, **newcomers.only_first_ranks(tmp_path, stuck))
    done.expect(RanksLost.exit_code)
    assert done.output.count("starting again from the last save") == STUCK, done.output
    assert runs.newest(run).progress.steps == 0


def test_ranks_are_not_replaced_if_unwanted(alone, digits, tmp_path):
    run = tmp_path / "run"
    words = runs.train(digits, run, "--epochs", returns.EPOCHS)
    with launches.Launched(*LAUNCH, "--no-return", *words) as job:
        returns.wait_until_training(job, run)
        returns.kill(job, job.rank_processes()[-1])
        job.finish().expect()
    returns.same_bits(run, alone, RANKS - 1)


def resize(run, ranks):
    return mpi_jobs.distlenet("resize", run, str(ranks))


def test_a_run_grows_and_shrinks(alone, digits, tmp_path):
    run = tmp_path / "run"
    with launches.Launched("-n", 2, *returns.words(digits, run, until="left: 1 rank", short=True)) as job:
        returns.wait_until_training(job, run)
        before = job.rank_processes()
        resize(run, 5).expect(7, "cut into 4 shards, and each rank needs one: expected at most 4 ranks")
        resize(run, 3).expect()
        mpi_jobs.wait_for(lambda: returns.count(run, ": 3 ranks now"), job)
        assert len(set(before) & set(job.rank_processes())) == 2
        resize(run, 1).expect()  # two leave at once
        mpi_jobs.wait_for(lambda: returns.count(run, "2 ranks left: 1 rank now"), job)
        done = job.finish().expect()
        assert not job.left_behind(), done.output
    returns.same_bits(run, alone, 1)
    assert [change["ranks"] for change in runs.summary(run)["ranks_changed"]] == [3, 1]
    resize(run, 3).expect(6, "is not in progress: resume it on 3 ranks with `distlenet launch -n 3 train ")


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
            with fault.trial(f"run {trial}"), launches.Launched("-n", 4, *words) as job:
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
            with fault.trial(f"run {trial}"), launches.Launched("-n", 2, *words) as job:
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
                words = ["-n", 4, "--hosts", "h1:2,h2:2", *returns.words(digits, run)]
                program = [sys.executable, "-P", "-m", "distlenet", "launch", *map(str, words)]
                far = {"PRTE_MCA_plm_ssh_agent": str(hosts.ssh)}
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
