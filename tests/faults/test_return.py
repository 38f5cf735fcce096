"""Lost ranks are replaced while the run continues: the bits of one process, all ranks at the end, exit code 0."""

import drawn
import launches
import pytest
from faults import returns, runs

RANKS = 3
LAUNCH = ["-n", RANKS, "--stall-after", 30]
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
    with launches.Launched(*LAUNCH, "--no-return", *words) as job:
        returns.wait_until_training(job, run)
        returns.kill(job, job.rank_processes()[-1])
        job.finish().expect()
    returns.same_bits(run, alone, RANKS - 1)
