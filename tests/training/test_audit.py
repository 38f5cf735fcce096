"""Audits: flipped bits in a real rank are found before the update, and the rank is named."""

import json
import random
import sys

import mpi_jobs
import numpy as np
import pytest
import sessions

from distlenet.data.leaves import Leaves
from distlenet.errors import AuditError
from distlenet.training.audit import EVERY, Audits, auditor_of, owner_of

FLAGS = {"epochs": 1, "batch_size": 64, "shards": 8, "train_sample": 50}  # 11 steps
STEPS, SHARDS = 10, 8  # of these steps, all shards have images in each
WORDS = [word for name, value in FLAGS.items() for word in (f"--{name.replace('_', '-')}", str(value))]


FAULTY = """
import os

from distlenet.nn import Conv2d, Dense, Flatten, Layer, MaxPool2d, ReLU, Sequential


class Faulty(Layer):  # wrong on one rank, after some steps
    leaves = 0

    def forward(self, x):
        here = os.environ.get("OMPI_COMM_WORLD_RANK") == os.environ.get("FAULTY", "none")
        return x + 1e-3 if here and self.leaves > 30 else x

    def backward(self, dy):
        self.leaves += 1
        return dy


def build(input_shape, classes):
    return Sequential(input_shape, Conv2d(4, 5), ReLU(), MaxPool2d(2), Faulty(), Flatten(), Dense(classes))
"""


def flip(runtime, data, run, ranks, spec, *more):
    """Train under mpirun while a rank flips bits; see jobs/flipping.py."""
    spec = {"step": None, "shard": None, "role": None, "times": 1, "seed": 1, "what": "activations", **spec}
    words = ["train", "--data", data, "--run", run, *WORDS, "--display", "plain", *more]
    job = [str(mpi_jobs.JOBS / "flipping.py"), json.dumps(spec), *map(str, words)]
    return mpi_jobs.run(runtime.command(ranks, *job))


def test_every_leaf_has_its_turn():
    audits, seen = Audits(every=3), []
    for steps in range(3 * 8 * 3):
        seen += audits.due(steps, 8)
    assert seen == 3 * list(range(8))
    assert Audits(everything=True).due(5, 4) == [0, 1, 2, 3]
    assert not Audits().due(0, 8)
    assert [owner_of(shard, 3, 8) for shard in range(8)] == [0, 0, 1, 1, 1, 2, 2, 2]
    for size in range(2, 9):
        assert {auditor_of(0, turn, size) for turn in range(size - 1)} == set(range(1, size))
    assert auditor_of(0, 5, 1) == 0


@pytest.mark.parametrize("audit", [{"audit": 2}, {"audit_all": True}])
@pytest.mark.parametrize("more", [{}, {"memory_limit": 0, "optimizer": "levenberg-marquardt", "lr": 0.001}])
def test_audits_change_nothing(digits, tmp_path, audit, more):
    flags = {"flags": FLAGS | more}
    whole = sessions.train_run(digits, tmp_path / "whole", flags=flags["flags"], audit=0).expect()
    for ranks in (1, 3, 8):
        run = sessions.train_run(digits, tmp_path / str(ranks), ranks, **flags, **audit).expect().run
        assert sessions.results(run) == sessions.results(whole.run)


def test_how_often(digits, tmp_path, monkeypatch):
    read = []
    real = Leaves.load_any
    monkeypatch.setattr(Leaves, "load_any", lambda *all_of_it: read.append(all_of_it[1:4]) or real(*all_of_it))
    monkeypatch.setattr("distlenet.runs.session.EVERY", 4)
    assert EVERY == 150
    for ranks, options, expected in [
        (1, {}, []),
        (2, {}, [(0, 3, 0), (0, 7, 1)]),
        (2, {"audit": 0}, []),
        (1, {"audit": 5}, [(0, 4, 0), (0, 9, 1)]),
        (2, {"audit_all": True}, [(0, step, shard) for step in range(11) for shard in range(8)]),
    ]:
        read.clear()
        sessions.train_run(digits, tmp_path / "run", ranks, flags=FLAGS, overwrite=True, **options).expect()
        assert sorted(read) == expected, (ranks, options)


@pytest.mark.parametrize("what", ["images", "activations", "weights"])
def test_flips_in_an_audited_leaf(openmpi, digits, tmp_path, only_sentence, soak, what):
    with soak.fault(f"flipped bits in the {what} of an audited leaf") as fault:
        for trial in range(soak.count(34)):
            chance = random.Random(trial)
            turn, role = chance.randrange(STEPS // 2), chance.choice(["owner", "auditor"])
            step = 2 * turn + 1
            rank = owner_of(turn, 2, SHARDS)
            rank = rank if role == "owner" else 1 - rank
            spec = {"rank": rank, "step": step, "shard": turn, "role": role, "what": what, "seed": trial}
            with fault.trial(spec):
                done = flip(openmpi, digits, tmp_path / str(trial), 2, spec, "--audit", 2)
                place = f"epoch 1, step {step + 1}: rank {rank} on "
                only_sentence(done, 10, place, "(core ", f"other bits than the other ranks for shard {turn};", "resume")


def test_flips_anywhere(openmpi, digits, tmp_path, only_sentence, soak):
    with soak.fault("flipped bits in any leaf, all of them audited") as fault:
        for trial in range(soak.count(100)):
            chance = random.Random(1000 + trial)
            step, shard, ranks = chance.randrange(STEPS), chance.randrange(SHARDS), chance.choice([2, 3])
            rank = owner_of(shard, ranks, SHARDS)
            what = chance.choice(["images", "activations", "weights"])
            spec = {"rank": rank, "step": step, "shard": shard, "role": "owner", "what": what, "seed": trial}
            with fault.trial(spec):
                done = flip(openmpi, digits, tmp_path / str(trial), ranks, spec, "--audit-all")
                only_sentence(done, 10, f"step {step + 1}: rank {rank} on ", f"for shard {shard};")


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_core_that_is_always_wrong(openmpi, digits, tmp_path, only_sentence, ranks):
    done = flip(openmpi, digits, tmp_path / "run", ranks, {"rank": 1, "times": None}, "--audit", 1)
    who = ["rank 1 on "] if ranks == 3 else ["rank 0 on ", " and rank 1 on ", "computed different bits"]
    only_sentence(done, 10, *who)
    if ranks == 3:
        assert "rank 0 on" not in done.output


def test_in_one_process(digits, tmp_path, monkeypatch):
    real, seen = Leaves.load, []

    def load(leaves, epoch, step, shard):
        x, labels = real(leaves, epoch, step, shard)
        seen.append((step, shard))
        if seen.count((4, 0)) == 2 and seen[-1] == (4, 0):
            x.view(np.uint32)[0, 14, 14, 0] ^= 1 << 20
        return x, labels

    monkeypatch.setattr(Leaves, "load", load)
    done = sessions.train_run(digits, tmp_path / "run", flags=FLAGS, audit=5).expect(10)
    assert isinstance(done.codes[0], AuditError)
    assert "step 5: rank 0 on" in done.error
    assert "computed different bits each time for shard 0" in done.error
    assert sessions.summary(tmp_path / "run")["steps"] == 4  # before the update


def test_a_rank_that_is_outvoted_is_dropped(survivors_continue, digits, tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY)
    words = ["train", "--data", digits, *WORDS, "--model", tmp_path / "faulty.py:build", "--display", "plain"]
    mpi_jobs.distlenet(*words, "--run", tmp_path / "whole").expect()
    launch = [sys.executable, "-m", "distlenet", "launch", "-n", 3, *words, "--audit-all", "--run", tmp_path / "run"]
    done = mpi_jobs.run(list(map(str, launch)), env=mpi_jobs.environment(FAULTY="1"))
    done.expect(0, "[rank 1/3] epoch 1, step ", ": rank 1 on ", "it ends itself", "1 of 3 ranks lost")
    assert sessions.results(tmp_path / "run") == sessions.results(tmp_path / "whole")
