"""The rank that the others wait for is named; a noisy machine raises no alarm."""

import time

import numpy as np
import pytest
import sessions

from distlenet.data.leaves import Leaves
from distlenet.training import slow_ranks
from distlenet.training.slow_ranks import PATIENCE, Pace, find_slow

FLAGS = {"batch_size": 16, "train_sample": 16, "validation": 16, "epochs": 1}


def pace(rank=0, leaf=0.001, busy=1.0, switches=1.0, faults=0, threads=1):
    return Pace(rank, f"node{rank}", leaf, 2, busy, switches, faults, threads)


def windows(*leaves):
    return [[pace(rank, leaf) for rank, leaf in enumerate(row)] for row in leaves]


def test_a_slow_rank_is_named_once_and_changes_nothing(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(slow_ranks, "WINDOW", 5)
    plain = sessions.train_run(digits, tmp_path / "plain", ranks=3, flags=FLAGS).expect()
    load = Leaves.load

    def slow(leaves, epoch, step, shard):
        time.sleep(0.03 * (leaves.shards[-1] == 7))
        return load(leaves, epoch, step, shard)

    monkeypatch.setattr(Leaves, "load", slow)
    done = sessions.train_run(digits, tmp_path / "run", ranks=3, flags=FLAGS).expect()
    found = [text for text in done.notices if "wait for rank" in text]
    assert len(found) == 1 and "the other ranks wait for rank 2 on " in found[0]
    (row,) = sessions.summary(done.run)["slow_ranks"]
    assert row["rank"] == 2 and row["leaf"] > 0.03 and row["cause"] in found[0]
    assert sessions.results(done.run) == sessions.results(plain.run)


@pytest.mark.parametrize(
    ("leaves", "slow"),
    [
        (((1, 1, 1, 1.25),) * 4, [3]),
        (((1.3, 1, 1, 1.25),) * 4, [0, 3]),  # two ranks on one core
        (((1, 1.25),) * 4, [1]),
        (((1, 1, 1, 1.1),) * 4, []),
        (((1, 1, 1.4), (1, 1.4, 1), (1, 1, 1.4), (1, 1, 1.4)), []),  # noise goes from rank to rank
        (((1, 1, 1.4),) * 3, []),  # too short to tell
    ],
)
def test_slow_is_much_slower_than_the_others_for_a_while(leaves, slow):
    assert find_slow(windows(*leaves)) == slow


def test_noise_raises_no_alarm():
    random = np.random.Generator(np.random.Philox(1))
    rows = windows(*random.uniform(1, 1.3, (300, 4)))
    alarms = sum(bool(find_slow(rows[start : start + PATIENCE])) for start in range(len(rows) - PATIENCE))
    assert alarms <= 3


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ({"faults": 1000, "threads": 2}, "memory"),
        ({"threads": 2}, "2 BLAS threads"),
        ({"busy": 0.5, "switches": 100.0}, "shares its core"),
        ({"busy": 0.6}, "disk"),
        ({}, "frequency"),
    ],
)
def test_the_cause_comes_from_the_figures(figures, word):
    assert word in pace(**figures).cause
