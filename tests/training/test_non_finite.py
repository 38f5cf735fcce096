"""A NaN or an infinity ends the run before the update, with the place where it appeared first."""

import json
import sys

import mpi_jobs
import numpy as np
import pytest

from distlenet.nn import build_model
from distlenet.training.checkpoint_file import read_checkpoint
from distlenet.training.diagnosis import first_non_finite

# the command line, but the leaf of shard 5 in step 13 of the run holds a NaN
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
def test_poisoned_leaf(runtime, ranks, digits, tmp_path, only_sentence):
    run = tmp_path / "run"
    words = ["-c", POISONED, "train", "--data", str(digits), "--run", str(run), *ARGUMENTS]
    done = mpi_jobs.run([sys.executable, *words] if ranks == 1 else runtime.command(2, *words))
    rank = 0 if ranks == 1 else 1
    only_sentence(done, 8, "epoch 2, step 4", f"on rank {rank}, shard 5", "the input", "--lr")
    # what was saved is that of the last complete epoch, and nothing after the step was done
    assert read_checkpoint(run / "checkpoints/last.h5").meta["position"]["epoch"] == 1
    steps = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    assert max(line["steps"] for line in steps) == 11 + 3


def test_too_high_a_rate(digits, tmp_path, distlenet, only_sentence, openmpi):
    for ranks, where in ((1, {}), (2, {"runtime": openmpi, "ranks": 2})):
        run = tmp_path / str(ranks)
        done = distlenet("train", "--data", digits, "--run", run, *ARGUMENTS, "--lr", "1e30", **where)
        only_sentence(done, 8, "epoch 1, step 2", "on rank 0, shard 0", "(and in 7 other shards)")
        assert "the output of " in done.output


@pytest.fixture
def net():
    net = build_model("lenet5", (1, 28, 28), 10, "relu", "average")
    net.initialize("he", 1)
    return net


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
