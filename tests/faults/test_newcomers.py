"""New ranks that go wrong before they have joined: the run continues without them, with its bits, and says why."""

import os
import platform
import re

import drawn
import launches
import mpi_jobs
import pytest
from faults import newcomers, returns, runs

RANKS = 3
STALL_AFTER = 5  # seconds: a new rank that is not ready by then is given up
LAUNCH = ["-n", RANKS, "--stall-after"]
MODEL = """from distlenet.nn.models import lenet5
def build(image_shape, classes):
    return lenet5(image_shape, classes)
"""
REFUSED, AGAIN = "cannot join", "tries again"
UNLIKE = {  # what a new rank does, and why it is turned away
    "kernel": ('os.environ["OPENBLAS_CORETYPE"] = "Prescott"', r"it has kernel '\w+', the run has '"),
    "numpy": ('import numpy\nnumpy.__version__ = "0.1"', "it has numpy '0.1', the run has '"),
    "h5py": ('import h5py\nh5py.__version__ = "0.1"', "it has h5py '0.1', the run has '"),
}


def lose_one(job, run):
    """Kill a rank that is not the root once the run trains."""
    returns.wait_until_training(job, run)
    returns.kill(job, max(set(job.rank_processes()) - {runs.root_of(run)}))


def ends_without(whole, run, job, reason):
    """Check that the run ended like ``whole`` with the ranks that were left, and reported once why no new one joined.

    ``reason`` is a regular expression.
    """
    done = job.finish().expect()
    assert "Traceback" not in done.output, done.output
    assert not job.left_behind(), done.output
    (notice,) = [text for text in returns.notices(run) if REFUSED in text]
    assert re.search(f"^the new rank.* {REFUSED}: {reason}", notice), notice
    assert f"; the run continues with {RANKS - 1} ranks; " in notice
    returns.same_bits(run, whole, RANKS - 1)


@pytest.mark.parametrize("what", UNLIKE)
def test_another_cpu_or_version_is_turned_away(alone, digits, tmp_path, what):
    program, reason = UNLIKE[what]
    if what == "kernel" and platform.machine() != "x86_64":
        pytest.skip("the kernel is one of x86-64")
    run, env = tmp_path / "run", newcomers.only_newcomers(tmp_path, program)
    with launches.Launched(*LAUNCH, 30, *returns.words(digits, run, until=REFUSED), **env) as job:
        lose_one(job, run)
        ends_without(alone, run, job, reason)


@pytest.mark.parametrize("what", ["data", "code"])
def test_other_data_or_code_is_turned_away(survivors_continue, digits, tmp_path, what):
    run, data, model = tmp_path / "run", tmp_path / "data.h5", tmp_path / "model.py"
    returns.exchange_file(data, digits)
    model.write_text(MODEL)
    options = ["--model", f"{model}:build", "--epochs", 3]
    other = drawn.write_again(tmp_path / "other.h5", 2)
    with launches.Launched(*LAUNCH, 30, *returns.words(data, run, *options, until=REFUSED)) as job:
        returns.wait_until_training(job, run)
        if what == "data":
            returns.exchange_file(data, other)
        else:
            model.write_text(MODEL + "# changed\n")
        lose_one(job, run)
        mpi_jobs.wait_for(lambda: returns.count(run, REFUSED), job)
        returns.exchange_file(data, digits)
        model.write_text(MODEL)
        whole = tmp_path / "whole"
        runs.do(returns.words(data, whole, *options)).expect()
        reason = {"data": "it has a dataset with fingerprint", "code": f"it has {model}:build with the source of"}
        ends_without(whole, run, job, reason[what])


@pytest.mark.parametrize("when", ["starts", "prepares"])
@pytest.mark.parametrize("how", newcomers.DEATHS)
def test_a_new_rank_that_dies_or_hangs_before_it_is_ready(alone, digits, tmp_path, when, how):
    what = {"starts": newcomers.STARTS, "prepares": newcomers.PREPARES}[when].format(newcomers.DEATHS[how])
    reason = f"it was not ready within {STALL_AFTER} s" if how == "stop" else "it "
    run, env = tmp_path / "run", newcomers.only_newcomers(tmp_path, what)
    with launches.Launched(*LAUNCH, STALL_AFTER, *returns.words(digits, run, until=REFUSED), **env) as job:
        lose_one(job, run)
        ends_without(alone, run, job, reason)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_new_ranks_that_die_or_hang_while_they_join(alone, digits, tmp_path, how):
    run, missed = tmp_path / "run", "a new rank was lost while it joined; the run continues with 2 ranks"
    env = newcomers.only_newcomers(tmp_path, newcomers.JOINS.format(newcomers.DEATHS[how]))
    with launches.Launched(*LAUNCH, 30, *returns.words(digits, run, until=AGAIN), **env) as job:
        lose_one(job, run)
        done = job.finish().expect()
        assert "Traceback" not in done.output and not job.left_behind(), done.output
    told = [text for text in returns.notices(run) if missed in text]
    assert told == [missed, missed, f"{missed}; `distlenet resize RUN 3` {AGAIN}"]
    returns.same_bits(run, alone, RANKS - 1)


def test_a_new_rank_that_cannot_be_started(alone, digits, tmp_path):
    run, env = tmp_path / "run", newcomers.only_first_ranks(tmp_path, 'sys.executable = "/nowhere/python"')
    with launches.Launched(*LAUNCH, STALL_AFTER, *returns.words(digits, run, until=REFUSED), **env) as job:
        lose_one(job, run)
        ends_without(alone, run, job, "/nowhere/python cannot be started there")


def test_resize_tries_again(alone, digits, tmp_path):
    run, broken = tmp_path / "run", tmp_path / "broken"
    broken.touch()
    program = f"if os.path.exists({str(broken)!r}):\n    import h5py\n    h5py.__version__ = '0.1'"
    env = newcomers.only_newcomers(tmp_path, program)
    with launches.Launched(*LAUNCH, 30, *returns.words(digits, run), **env) as job:
        lose_one(job, run)
        mpi_jobs.wait_for(lambda: returns.count(run, f"`distlenet resize RUN {RANKS}` tries again"), job)
        os.remove(broken)
        mpi_jobs.distlenet("resize", run, RANKS).expect()
        job.finish().expect()
    returns.same_bits(run, alone, RANKS)
