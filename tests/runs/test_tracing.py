"""The timeline: its format, its clocks, and what it must not change."""

import errno
import json
import re
import threading

import mortal
import numpy as np
import pretend
import pytest
import sessions

from distlenet import atomic
from distlenet.nn.layer import run_layer
from distlenet.parallel.communicator import untimed
from distlenet.runs import timeline, tracing
from distlenet.runs.timeline import NAME, Tracer

FLAGS = {"batch_size": 112, "shards": 7, "train_sample": 50, "epochs": 2, "validation": 100}


@pytest.fixture(scope="module")
def untraced(digits, tmp_path_factory):
    """The results of a run without a timeline."""
    return sessions.results(sessions.train_run(digits, tmp_path_factory.mktemp("plain") / "run", flags=FLAGS).run)


def read(run):
    """Return a timeline's spans by process, and the processes' names; checks the file against the format."""
    file = json.loads((run / NAME).read_text())
    assert file["displayTimeUnit"] in ("ms", "ns") and file["otherData"]["generator"] == "distlenet"
    spans, names = {}, {}
    for event in file["traceEvents"]:
        assert type(event["name"]) is str and type(event["pid"]) is type(event["tid"]) is int
        assert event["ph"] in ("M", "X")
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "process_sort_index", "thread_name")
            names |= {event["pid"]: event["args"]["name"]} if event["name"] == "process_name" else {}
        else:
            assert event.keys() == {"name", "ph", "pid", "tid", "ts", "dur"} and event["dur"] >= 0
            spans.setdefault(event["pid"], []).append((event["name"], event["ts"], event["ts"] + event["dur"]))
    assert spans.keys() == names.keys()
    assert {(event["pid"], event["tid"]) for event in file["traceEvents"]} == {(process, 0) for process in names}
    for process in spans.values():
        starts = [start for _, start, _ in process]
        assert starts == sorted(starts) and starts[0] >= 0
        check_nested(process)
    return spans, names


def check_nested(spans):
    """Assert that of any two spans, one lies within the other, or they do not overlap."""
    around = []
    for name, start, end in sorted(spans, key=lambda span: (span[1], -span[2])):
        while around and around[-1] <= start:
            around.pop()
        assert not around or end <= around[-1], name
        around.append(end)


def within(spans, inner, outer):
    """Return whether every span ``inner`` lies within one called ``outer``, a pattern; there must be some."""
    outside = [(start, end) for name, start, end in spans if re.fullmatch(outer, name)]
    found = [(start, end) for name, start, end in spans if name == inner]
    return bool(found) and all(any(a <= start and end <= b for a, b in outside) for start, end in found)


def test_the_file_of_three_ranks(distlenet, any_mpi, digits, tmp_path, untraced):
    run, flags = tmp_path / "run", [f"--{name.replace('_', '-')}={value}" for name, value in FLAGS.items()]
    distlenet("train", "--data", digits, "--run", run, *flags, "--trace", 8, runtime=any_mpi, ranks=3).expect(0, NAME)
    spans, names = read(run)
    assert sorted(names) == [0, 1, 2] and all(name.startswith(f"rank {rank} on ") for rank, name in names.items())
    steps = {rank: [span for span in spans[rank] if span[0].startswith("step ")] for rank in spans}
    for rank, own in steps.items():
        assert [name for name, _, _ in own] == [f"step {number}" for number in range(1, 9)]
        for part in ("load", "exchange", "update", "C1 forward", "C1 backward", "F6 forward"):
            assert within(spans[rank], part, "step .*|evaluate"), part
        assert within(spans[rank], "augment", "load")
        assert all(within(spans[rank], part, "exchange") for part in ("send", "wait", "add"))
        assert within(spans[rank], "evaluate", "end of the epoch")
    assert "checkpoint" in {name for name, _, _ in spans[0]}
    for number in range(8):  # no rank ends a step before all have started it: the clocks agree
        same = [own[number] for own in steps.values()]
        assert max(start for _, start, _ in same) < min(end for _, _, end in same)
    assert {name: value for name, value in sessions.results(run).items() if name in untraced} == untraced


def test_nothing_is_left_behind_and_a_short_run_is_written_at_its_end(digits, tmp_path, untraced):
    found, layers = [], []

    def act(rank, state, signals):
        found.append(state.net.run)
        layers[:] = [layer.name for layer in state.net.layers]

    done = sessions.train_run(digits, tmp_path / "a", flags=FLAGS, trace=2, act=act).expect()
    assert [run is run_layer for run in found[:3]] == [False, False, True]
    assert sessions.results(done.run) == untraced
    assert [name for name, _, _ in read(done.run)[0][0] if name.startswith("step ")] == ["step 1", "step 2"]
    done = sessions.train_run(digits, tmp_path / "b", flags=FLAGS, trace=500).expect()
    spans = [name for name, _, _ in read(done.run)[0][0]]
    assert layers and {f"{layer} {way}" for layer in layers for way in ("forward", "backward")} <= {*spans}
    assert f"step {sessions.results(done.run)['steps']}" in spans and spans.count("end of the epoch") == 2
    resumed = sessions.train_run(digits, done.run, flags=FLAGS | {"epochs": 3}, resume="auto", override=("epochs",))
    assert resumed.expect().run == done.run and read(done.run)[0][0] != spans


def test_a_full_disk_is_reported_and_the_run_continues(digits, tmp_path, untraced, monkeypatch):
    replacing = atomic.replacing

    def full(path, *rest):
        if str(path).endswith(NAME):
            raise OSError(errno.ENOSPC, "No space left on device")
        return replacing(path, *rest)

    monkeypatch.setattr(atomic, "replacing", full)
    done = sessions.train_run(digits, tmp_path / "run", flags=FLAGS, trace=2).expect()
    assert [text for text in done.notices if NAME in text and "the disk is full" in text and "continues" in text]
    assert not (done.run / NAME).exists() and sessions.results(done.run) == untraced


@pytest.mark.parametrize("death", [0.45, 0.5, 0.55, 0.6, 0.65, 0.8])
def test_a_lost_rank_takes_its_part_with_it(digits, tmp_path, untraced, death):
    job = mortal.Job(3, {})
    sessions.train_run(digits, tmp_path / "whole", mortals=job, flags=FLAGS, trace=4).expect()
    job = mortal.Job(3, {0: int(death * job.calls[0])})
    done = sessions.train_run(digits, tmp_path / "run", mortals=job, flags=FLAGS, trace=4)
    assert done.expect() and sessions.results(done.run) == untraced
    spans, _ = read(done.run)
    assert spans.keys() >= {1, 2}
    if any("lost" in text for text in done.notices) and 0 not in spans:  # while the timeline was recorded
        assert all("recover" in {name for name, _, _ in spans[rank]} for rank in (1, 2))


@pytest.fixture
def hosts(monkeypatch):
    """``hosts(*ahead)``: each rank is on a host whose clock is ahead by so many ns; equal ones share a host."""

    def patch(*ahead):
        here, real, read = threading.local(), timeline.now, tracing.read_clocks
        clocks = list(ahead)

        def read_here(comm, *more):
            here.rank = comm.rank
            return read(comm, *more)

        for module in (timeline, tracing):
            monkeypatch.setattr(module, "now", lambda: real() + clocks[getattr(here, "rank", 0)])
        monkeypatch.setattr(tracing, "read_clocks", read_here)
        monkeypatch.setattr(tracing, "machine", lambda: f"host {ahead[here.rank]}")
        return clocks

    return patch


def test_the_clocks_of_other_hosts_are_read_from_the_root(hosts):
    ahead = hosts(0, 7_000_000_000, -3_000_000_000, 7_000_000_000)
    clocks = pretend.run(4, tracing.read_clocks)
    assert len({clock.root for clock in clocks}) == 1
    assert clocks[0].error == 0 and all(clock.error > 0 for clock in clocks[1:])
    assert all(abs(clock.ahead - offset) <= clock.error for clock, offset in zip(clocks, ahead, strict=True))
    assert clocks[1] == clocks[3]  # on one host


@pytest.mark.parametrize("jumping", [[], [1], [0], [0, 2]])
def test_clocks_that_jump_keep_spans_in_order(digits, tmp_path, hosts, untraced, jumping):
    clocks, jump = hosts(0, 10**9, -(10**9)), 5_000_000_000 * bool(jumping)

    def act(rank, state, signals):
        if rank in jumping and state.progress.steps == 4:  # the other hosts were suspended
            clocks[rank] += jump

    done = sessions.train_run(digits, tmp_path / "run", 3, act, flags=FLAGS, trace=8).expect()
    assert sessions.results(done.run) == untraced
    spans, _ = read(done.run)  # checks order and nesting
    steps = [[span for span in spans[rank] if span[0].startswith("step ")] for rank in range(3)]
    assert all(len(own) == 8 for own in steps)
    clock = json.loads((done.run / NAME).read_text())["otherData"]["clocks"]
    error, drift = map(float, re.fullmatch(r".*aligned to ([0-9.]+) .*drifted by up to ([0-9.]+) .*", clock).groups())
    assert abs(drift - abs(jump) / 1000) <= 2 * error + 0.2
    if not jump:
        for same in zip(*steps, strict=True):  # no rank ends a step before all have started it
            assert max(start for _, start, _ in same) <= min(end for _, _, end in same) + 2 * error + 1


@pytest.mark.parametrize("last", [(10**9, 50), (10**9, 10**10), (10**9, -(10**9) + 1), (10**9, -(10**10))])
def test_aligned_times_keep_their_order(last):
    first, last = tracing.Clock(5_000, 70, 1), tracing.Clock(*last, 1)
    times = np.sort(np.random.default_rng(1).integers(5_070, 5_070 + 10**9, (2, 500)), axis=1)
    found = tracing.aligned(times, first, last)
    assert found.dtype == np.int64 and (np.diff(found, axis=1) >= 0).all() and (found >= 0).all()
    if last.root + last.ahead > first.root + first.ahead:
        assert tracing.aligned(np.array([last.root + last.ahead]), first, last)[0] == pytest.approx(last.root - 5_000)


def test_names_of_any_kind_and_the_original_methods():
    tracer = Tracer()
    with pytest.raises(ZeroDivisionError):
        tracer.timed('a "quoted" \\ name\n', lambda: 1 / 0)()
    with tracer.span("é 5 %d"):
        pass
    events = json.loads(f"[{tracer.lines(3, 'rank 3', lambda times: times)}]")
    assert [event["name"] for event in events[3:]] == ['a "quoted" \\ name\n', "é 5 %d"]
    assert untimed("wait").__enter__() is None
