"""A NaN or an infinity ends the run before the update; the error names where it first appeared."""

import sys

import mpi_jobs
import numpy as np
import pytest
import sessions
from checkpoints import new_state

from distlenet.nn import Net
from distlenet.nn.inspection import first_non_finite
from distlenet.runs.checkpoint_file import read_checkpoint

# the command line program, with a NaN in shard 5's leaf of epoch 2, step 4
POISONED = """
import sys
import numpy as np
from distlenet.cli import main
from distlenet.data.leaves import Leaves

load = Leaves.load

def poisoned(self, epoch, step, shard):
    x, labels = load(self, epoch, step, shard)
    if (epoch, step, shard) == (1, 3, 5):
        x[0, 3, 4, 0] = np.nan
    return x, labels

Leaves.load = poisoned
sys.exit(main(sys.argv[1:]))
"""
ARGUMENTS = ["--epochs", "3", "--batch-size", "64", "--shards", "8", "--display", "plain", "--log-every", "1"]


@pytest.mark.parametrize("ranks", [1, 2])
def test_poisoned_leaf(any_mpi, ranks, digits, tmp_path, only_sentence):
    run = tmp_path / "run"
    words = ["-c", POISONED, "train", "--data", str(digits), "--run", str(run), *ARGUMENTS]
    done = mpi_jobs.run([sys.executable, *words] if ranks == 1 else any_mpi.command(2, *words))
    rank = 0 if ranks == 1 else 1
    only_sentence(done, 8, "epoch 2, step 4", f"on rank {rank}, shard 5", "the input", "--lr")
    # the checkpoint is that of the last complete epoch, and training ended at that step
    assert read_checkpoint(run / "checkpoints/last.h5").progress.epoch == 1
    steps = sessions.lines(run)
    assert max(line["steps"] for line in steps) == 11 + 3


def test_a_rate_that_is_too_high(digits, tmp_path, distlenet, only_sentence, openmpi):
    for ranks, where in ((1, {}), (2, {"runtime": openmpi, "ranks": 2})):
        run = tmp_path / str(ranks)
        done = distlenet("train", "--data", digits, "--run", run, *ARGUMENTS, "--lr", "1e30", **where)
        only_sentence(done, 8, "epoch 1, step 2", "on rank 0, shard 0", "(and in 7 other shards)")
        assert "the output of " in done.output


@pytest.fixture
def net():
    return new_state().net


def test_the_first_place_is_named(net):
    random = np.random.default_rng(0)
    x, labels = random.standard_normal((1, 28, 28, 4)).astype(np.float32), np.arange(4)
    with np.errstate(all="ignore"):
        assert first_non_finite(net, x, labels) is None
        x[0, 0, 0, 2] = np.inf
        assert first_non_finite(net, x, labels) == "the input"
        x[0, 0, 0, 2] = 0
        weights = net.parameters["C5/W"].value
        weights[0, 0] = np.nan
        assert first_non_finite(net, x, labels) == "the parameter C5/W"
        weights[:] = 3e38
        assert first_non_finite(net, x, labels) == "the output of C5"


def test_a_gradient_that_overflows(net):
    x, labels = np.full((1, 28, 28, 4), 3e38, np.float32), np.arange(4)
    kernel = net.parameters["C1/W"].value
    kernel *= np.float32(1e-38)  # keeps the forward pass small
    with np.errstate(all="ignore"):
        assert first_non_finite(net, x, labels) == "the gradient of C1/W"


FLAGS = {"epochs": 3, "batch_size": 64, "shards": 8, "train_sample": 50}


@pytest.mark.parametrize("ranks", [1, 3])
def test_the_sum_of_finite_parts(digits, tmp_path, monkeypatch, ranks):
    real = Net.loss_and_grad

    def huge(net, x, labels, gradient):
        found = real(net, x, labels, gradient)
        gradient[7] = 1e38  # the sum of eight overflows float32
        return found

    def act(rank, state, signals):
        if state.progress.steps == 13:
            monkeypatch.setattr(Net, "loss_and_grad", huge)

    done = sessions.train_run(digits, tmp_path / "run", ranks, act, flags=FLAGS | {"on_divergence": "stop"}).expect(8)
    assert "only in the sum over the shards, whose parts are finite" in done.error
    assert "epoch 2, step 3" in done.error or ranks > 1  # pretend ranks share the patched class, at different steps
    assert all(finite_checkpoints(done.run).values())


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("what", ["theta", "velocity"])
@pytest.mark.parametrize("policy", ["stop", "heal"])
def test_a_state_made_non_finite_by_an_update_is_not_saved(digits, tmp_path, ranks, what, policy):
    def act(rank, state, signals):
        if state.progress.steps == 13 and not state.progress.divergences:  # like an update that overflows
            vector = state.net.theta if what == "theta" else state.optimizer.state["velocity"]
            vector[5] = np.inf

    options = {"save_steps": 1, "keep_newest": 1, "flags": FLAGS | {"on_divergence": policy}}
    done = sessions.train_run(digits, tmp_path / "run", ranks, act, **options)
    if policy == "heal":
        assert done.code == 0
        assert any("gone back" in text for text in done.notices)
        (record,) = sessions.summary(done.run)["divergences"]
        assert (record["epoch"], record["step"]) == (1, 1)  # 0-based: step 13 of the run, with 11 in an epoch
    else:
        assert done.code == 8
        where = "the parameter C1/W" if what == "theta" else "the optimizer's velocity"
        assert f"after epoch 2, step 2: NaN or infinity in {where}, caused by the update; this state" in done.error
    found = finite_checkpoints(done.run)
    assert {"last.h5", "best.h5"} <= set(found) and all(found.values())


def finite_checkpoints(run):
    """Return, for each checkpoint, whether all its numbers are finite."""
    found = {path.name: read_checkpoint(path) for path in (run / "checkpoints").iterdir()}
    return {
        name: all(np.isfinite(vector).all() for vector in (one.theta, *one.optimizer.values()))
        for name, one in found.items()
    }


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("policy", ["heal", "stop", "ignore"])
def test_the_very_first_step(digits, tmp_path, ranks, policy):
    wild = {"init": "normal", "sigma": 1e30, "on_divergence": policy, "max_heals": 2}
    done = sessions.train_run(digits, tmp_path / "run", ranks, flags=FLAGS | wild).expect(8)
    assert "epoch 1, step 1: NaN or infinity" in done.error and "choose another --init or --sigma" in done.error
    summary = sessions.summary(done.run)
    assert (summary["failure"], summary["steps"]) == ("NonFiniteError", 0)
    assert len(summary["divergences"]) == (3 if policy == "heal" else 1)
    assert "not finite" in (done.run / "postmortem/1.txt").read_text()


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_first_curvature(digits, tmp_path, ranks):
    wild = {"optimizer": "levenberg-marquardt", "init": "normal", "sigma": 1e12, "max_heals": 1}
    done = sessions.train_run(digits, tmp_path / "run", ranks, flags=FLAGS | wild).expect(8)
    assert sessions.summary(done.run)["failure"] == "NonFiniteError"


def test_the_first_step_after_a_resume(digits, tmp_path):
    assert sessions.train_run(digits, tmp_path / "run", 1, flags=FLAGS | {"epochs": 1}).code == 0
    overridden = {"flags": FLAGS | {"lr": 1e38, "clip": 0.0}, "override": ("lr", "clip", "epochs"), "resume": "auto"}
    sessions.train_run(digits, tmp_path / "run", 1, **overridden).expect(8, "after going back 3 times")
