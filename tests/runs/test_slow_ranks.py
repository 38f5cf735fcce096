"""The ranks that the others wait for are named with the likely cause; a noisy machine raises no alarm."""

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import sessions

from distlenet.data.leaves import Leaves
from distlenet.runs import slow_ranks
from distlenet.runs.slow_causes import Stretch, add_up, crowds, find_cause, intruders
from distlenet.runs.slow_ranks import FIRST, LENGTH, LONG, MOST, SOME, find_slow
from distlenet.runs.usage import Meter, Usage

FLAGS = {"batch_size": 16, "train_sample": 64, "validation": 16, "epochs": 1}
USAGE = Usage(1.0, 0.9, 0.0, 0.0, 0, 0, 0.0, 0.0, 0, 3000.0, "0", 1, "Zen")


def stretch(rank=0, leaf=1.0, load=0.1, exchange=0.2, machine="here", **usage):
    """Return 100 steps of two leaves, of ``leaf`` ms each."""
    used = replace(USAGE, **{"cores": str(rank)} | usage)
    return Stretch(rank, f"node{rank}", machine, 100 + rank, 2, 100, 1.0, load / 5, (leaf - load) / 5, exchange, used)


def rows(*leaves):
    return [[stretch(rank, leaf) for rank, leaf in enumerate(row)] for row in leaves]


class Calm(Meter):
    """Measures nothing: other work on this machine must not change the test."""

    def read(self, search=False):
        return USAGE


def test_a_slow_rank_is_named_once_and_changes_nothing(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(slow_ranks, "SPAN", 0.0)  # two steps
    monkeypatch.setattr(slow_ranks, "Meter", Calm)
    plain = sessions.train_run(digits, tmp_path / "plain", ranks=3, flags=FLAGS).expect()
    load = Leaves.load

    def slow(leaves, epoch, step, shard):
        time.sleep(0.03 * (leaves.shards[-1] == 7))
        return load(leaves, epoch, step, shard)

    monkeypatch.setattr(Leaves, "load", slow)
    done = sessions.train_run(digits, tmp_path / "run", ranks=3, flags=FLAGS).expect()
    assert sessions.results(done.run)["steps"] >= FIRST + 2 * LENGTH
    found = [text for text in done.notices if "wait for rank" in text]
    assert len(found) == 1 and "the other ranks wait for rank 2 on " in found[0] and "loads its images" in found[0]
    summary = sessions.summary(done.run)
    (entry,) = summary["slow_ranks"]
    assert entry["rank"] == 2 and entry["cause"] == "load" and entry["why"] in found[0]
    assert entry["leaf"] > 0.03 and 0 < entry["lost_share"] < 1
    times = summary["rank_times"]
    assert [row["cause"] for row in times] == ["", "", "load"] and times[2]["load"] > times[0]["load"]
    assert times[0]["wait"] > times[2]["wait"] and all(row["exchange"] >= 0 == row["off_core"] for row in times)
    assert sessions.results(done.run) == sessions.results(plain.run)


@pytest.mark.parametrize(
    ("leaves", "slow"),
    [
        (((1, 1, 1, 1.25),) * LENGTH, {3}),
        (((1.5, 1, 1, 1.25, 1),) * LENGTH, {0, 3}),
        (((1, 1.25),) * LENGTH, {1}),
        (((1, 1, 1, 1.1),) * LENGTH, set()),
        (((1, 1.4),) * MOST + ((1, 1),) * (LENGTH - MOST), {1}),
        (((1, 1, 1.4), (1, 1.4, 1)) * LENGTH, set()),  # noise goes from rank to rank
        (((1, 1, 1.4),) * (LENGTH - 1), set()),  # too short to tell
    ],
)
def test_slow_is_much_slower_than_the_others_for_a_while(leaves, slow):
    assert find_slow(rows(*leaves)[-LENGTH:]) == slow


def test_other_work_does_not_hide_a_process_that_keeps_a_rank_off_its_core():
    even = [stretch(0, leaf=2.0, delay=0.9), stretch(1, leaf=2.0, delay=0.9, neighbour="stress (process 7)")]
    late = [stretch(0), even[1]]
    rows = [even] * (LONG - SOME) + [late] * SOME
    assert find_slow(rows) == {1} and find_slow(rows[1:]) == set()
    assert find_slow([even, *rows[:-1]]) == set()  # slow too seldom
    assert find_slow([*rows[1:], [stretch(0), stretch(1)]]) == set()  # it had its core to itself once
    busy = [stretch(0, leaf=1.5, delay=0.3), even[1]]
    assert find_slow([busy if row is late else row for row in rows]) == set()  # so does the other rank, never
    watch = slow_ranks.SlowRanks(SimpleNamespace(rank=1, size=2))
    notices = []
    for row in rows:
        watch._count(row)
        notices += watch._judge(row)
        assert watch._suspected() == (LENGTH <= len(watch._recent) < LONG and row is late)
    (notice,) = notices
    assert "wait for rank 1" in notice.text and "another process uses its core: stress" in notice.text


def test_noise_raises_no_alarm():
    random = np.random.Generator(np.random.Philox(1))
    noisy = rows(*random.uniform(1, 1.5, (1000, 4)))
    assert not any(find_slow(noisy[start : start + LENGTH]) for start in range(len(noisy) - LENGTH))


def test_ranks_that_share_cores_are_slow_together():
    row = [stretch(rank, cores="0", run=0.5, delay=0.5) for rank in (0, 1)] + [stretch(2, cores="0-3")]
    assert crowds(row) == [[0, 1]] and find_slow([row] * LENGTH) == {0, 1}
    assert find_cause(row, 0) == find_cause(row, 1) and "ranks 0-1 share core 0" in find_cause(row, 0).text
    assert not crowds([stretch(rank, cores="0") for rank in (0, 1)])  # neither waits: one of them is idle
    assert not crowds([stretch(rank, cores="0", delay=0.5, machine=f"m{rank}") for rank in (0, 1)])
    row = [stretch(rank, cores="4-5", delay=0.5) for rank in range(3)]
    assert crowds(row) == [[0, 1, 2]] and "share cores 4-5" in find_cause(row, 0).text


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ({"threads": 4, "helpers": 0.5}, "BLAS threads"),
        ({"threads": 4, "helpers": 0.0}, "slower core"),  # they had nothing to do
        ({"delay": 0.9, "neighbour": "stress (process 7, 50% of a core)"}, "other process"),
        ({"delay": 0.9, "throttled": 0.4}, "CPU limit"),
        ({"faults": 1000}, "memory"),
        ({"load": 0.9}, "load"),
        ({"steal": 0.2}, "stolen time"),
        ({"kernel": "Haswell"}, "BLAS kernel"),
        ({"mhz": 1200.0}, "frequency"),
        ({}, "slower core"),
    ],
)
def test_the_cause_comes_from_the_figures(figures, word):
    row = [stretch(0), stretch(1), stretch(2, leaf=2.0, **figures)]
    found = find_cause(row, 2)
    assert found.word == word and figures.get("neighbour", "") in found.text


def test_a_rank_whose_threads_take_the_core_of_another_is_named_although_both_are_slow():
    own = stretch(0, leaf=2.0, cores="0-1", threads=2, helpers=0.6)
    row = [own, stretch(1, leaf=2.0, delay=0.9)]
    assert intruders(row) == {0} and find_slow([row] * LENGTH) == {0} and find_cause(row, 0).word == "BLAS threads"
    assert not intruders([own, stretch(1)])  # nobody waits
    assert not intruders([own, stretch(1, delay=0.9, machine="there")])
    assert not intruders([own, stretch(1, delay=0.9, cores="2")])  # another core
    wide = [stretch(rank, cores="0-3", threads=2, helpers=0.6, delay=0.9) for rank in range(3)]
    assert not intruders(wide[:2]) and intruders(wide) == {0, 1, 2}  # four threads fit on four cores


def test_a_rank_hampered_by_the_threads_of_another():
    row = [stretch(0, threads=2, helpers=0.9), stretch(1, leaf=2.0, delay=0.9)]
    assert "rank 0 computes with 2 BLAS threads" in find_cause(row, 1).text


def test_ranks_that_change_are_compared_from_the_start():
    watch = slow_ranks.SlowRanks(SimpleNamespace(rank=0, size=2))
    for ranks in (2, 4, 3):
        notices = []
        for _ in range(LENGTH):
            row = [stretch(rank, leaf=1 + (rank == 1)) for rank in range(ranks)]
            watch._count(row)
            notices += watch._judge(row)
        assert len(notices) == 1 and list(watch.slow) == [1] and len(watch.for_summary()["rank_times"]) == ranks


def test_stretches_add_up():
    first, last = stretch(3, neighbour="stress", delay=0.25), stretch(3, delay=0.5, mhz=1000.0)
    both = add_up([first, last])
    assert (both.rank, both.steps, both.leaves, both.seconds) == (3, 200, 2, 2.0) and both.leaf == last.leaf
    assert (both.usage.delay, both.usage.mhz, both.usage.neighbour) == (0.75, 1000.0, "stress")


def test_the_usage_of_this_process():
    meter, end = Meter(), time.thread_time() + 0.05
    while time.thread_time() < end:
        sum(range(1000))
    usage = meter.read()
    assert 0.04 <= usage.run <= usage.seconds + 0.01 and 0 <= usage.delayed < 1
    assert usage.helpers >= 0 and usage.threads >= 1 and usage.neighbour == ""
    assert usage.core in os.sched_getaffinity(0) and usage.cores


def test_the_busiest_neighbour_is_found():
    program = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
    process, meter = subprocess.Popen([sys.executable, "-c", program]), Meter()
    try:
        found, patience = "", time.monotonic() + 30
        while not found and time.monotonic() < patience:  # this process, or one that other work keeps busier
            time.sleep(0.3)
            found = meter.read(search=True).neighbour
    finally:
        process.kill()
        process.wait()
    assert re.fullmatch(r".+ \(process \d+, \d+% of a core\)", found)
