"""The cost model: its formulas on cases computed by hand, the required growth, and its command."""

import sys
from dataclasses import replace

import mpi_jobs
import pytest

from distlenet.bench import costfit, costmodel, scaling
from distlenet.bench.scaling import FLOATS, Compute, Plan, Traffic, Transport

COMPUTE = Compute(fixed=10.0, leaf=3.0, image=0.5, addition=1.0)


def test_a_step_by_hand():
    assert COMPUTE.step(4, 8, 3) == 10 + 4 * (3 + 0.5 * 8) + 3
    # 8 shards on 2 ranks: 4 leaves of 32, three additions, one node left
    assert scaling.computing(Plan(2, 8, 256), COMPUTE) == 10 + 4 * (3 + 16) + 3
    assert scaling.computing(Plan(1, 8, 256), COMPUTE) == 10 + 8 * (3 + 16) + 7
    assert scaling.computing(Plan(4, 8, 256), COMPUTE, cores=2) == 2 * scaling.computing(Plan(4, 8, 256), COMPUTE)
    assert scaling.computing(Plan(4, 8, 256), COMPUTE, cores=4) == scaling.computing(Plan(4, 8, 256), COMPUTE)


def test_an_exchange_by_hand():
    # 4 ranks on one host: with each of 3 others a node out and in, a sum out and in, of 100 floats
    assert scaling.traffic(4, 4, 8, 400) == [Traffic(12, 12 * 400)]
    # 2 a host: halves of 200 with the neighbour, then quarters of 100 with the other host; and back
    near, far = scaling.traffic(4, 2, 4, 400)
    assert near == Traffic(4, 4 * 4 * 200)
    assert far == Traffic(4, 4 * 4 * 100, 2 * 2 * 4 * 100)  # out of a host: half of it, by both ranks
    # 6 shards on 2 ranks leave two nodes each: 3 shards are a pair and one
    assert scaling.traffic(2, 2, 6, 400)[0].messages == 6
    assert [each.messages for each in scaling.traffic(64, 64, 64)] == [12, 12, 12]
    assert Traffic(8, 3200, 3200).time(Transport(1.0, 2.0, 0.01, 10.0)) == 2 + 16 + 320  # limited by the wire
    assert Traffic(8, 3200, 3200).time(Transport(1.0, 2.0, 0.01)) == 2 + 16 + 32  # or by the processor


def test_ranks_of_a_host_share_its_wire():
    for ranks in (32, 128):
        by_host, alone = scaling.traffic(ranks, 16, ranks), scaling.traffic(ranks // 16, 1, ranks)
        assert sum(each.host for each in by_host) == pytest.approx(sum(each.host for each in alone))


def test_required_growth():
    networks = [scaling.wire(name) for name in scaling.WIRES]
    for plan in (*costmodel.strong(4096, 1), *costmodel.weak(1, 4)):
        times = [scaling.step_time(plan, network) for network in networks]
        assert times == sorted(times, reverse=True)
        slow = replace(scaling.TCP, overhead=2 * scaling.TCP.overhead)
        assert scaling.step_time(plan, slow) >= scaling.step_time(plan, scaling.TCP)
    for per_host in (1, 8):
        shares = [scaling.efficiency(plan, networks[1]) for plan in costmodel.weak(1, per_host)]
        assert shares == sorted(shares, reverse=True)
    assert scaling.efficiency(Plan(1, 8, 256), networks[0]) == 1


def test_fit_recovers_known_parameters():
    seconds = {(b, s): COMPUTE.step(s, b / s, s - 1) for b, s in costfit.LAYOUTS}
    found = costfit.fit_compute(seconds, COMPUTE.addition)
    assert list(vars(found).values()) == pytest.approx(list(vars(COMPUTE).values()))
    by = Transport(3.0, 0.5, 0.001)
    cases = [(64, 2), (4096, 2), (61_712, 2), (64, 14), (64, 62), (16_384, 14)]
    rows = [[floats, shards, scaling.traffic(2, 2, shards, floats)[0].time(by)] for floats, shards in cases]
    found = costfit.fit_transport({"ranks": 2, "rows": rows})
    assert list(vars(found).values()) == pytest.approx([3.0, 0.5, 0.001, float("inf")])


def test_a_job_is_measured():
    reports = [costfit.run_exchange(2, repeats=10) for _ in range(2)]
    best = costfit.fastest(reports)
    assert best["ranks"] == 2
    assert best["hosts"] == 1
    assert costfit.gradient_seconds(best) == min(map(costfit.gradient_seconds, reports))
    assert all(value >= 0 for value in vars(costfit.fit_transport(best)).values())


def test_the_command():
    done = mpi_jobs.run([sys.executable, "-m", "distlenet.bench.costmodel"]).expect()
    assert not done.stderr
    for word in ("1 Gbit/s", "100 Gbit/s", "| batch 4,096 |", "| stages |"):
        assert word in done.stdout
    assert FLOATS > 61_706
