"""One step compared with the same step computed by hand in float64; the last step of an epoch has short leaves."""

import numpy as np
import pretend
import pytest

from distlenet.bench.workload import Workload
from distlenet.config import Config
from distlenet.errors import ReplicaError
from distlenet.nn import build_net
from distlenet.parallel import Serial

# 500 images in 7 shards of 71 and 72: four whole leaves of 16 and one of 7 or 8
SETTINGS = {"shards": 7, "batch_size": 112, "rotate": 0.0, "shift": 0.0, "zoom": 0.0, "clip": 0.0}
SMOOTH = {"activation": "tanh"}  # with relu, a unit near zero may be on in float32 and off in float64
IMAGES, STEPS, LR = 500, 5, 0.01


def by_hand(workload: Workload, step: int) -> tuple[np.ndarray, float, float, int]:
    """Return parameters after the step, mean loss, accuracy and number of images, all in float64."""
    state, leaves = workload.state, workload.leaves
    net = build_net(Config(**SMOOTH), (1, 28, 28), 10).to(np.float64)
    net.theta[:] = state.net.theta
    gradient, part, loss, correct, count = np.zeros(net.size), np.zeros(net.size), 0.0, 0, 0
    for shard in leaves.shards:
        x, labels = leaves.load(0, step, shard)
        more, hits = net.loss_and_grad(x.astype(np.float64), labels, part)
        gradient, loss, correct, count = gradient + part, loss + more, correct + hits, count + len(labels)
    return state.net.theta - LR * gradient / count, loss / count, correct / count, count


def test_a_step_uses_the_mean_gradient():
    workload = Workload(Serial(), Config(**SETTINGS, **SMOOTH, optimizer="sgd", weight_decay=0.0), images=IMAGES)
    running, seen = workload.steps(), []
    for step in range(STEPS):
        theta, loss, accuracy, count = by_hand(workload, step)
        event = next(running)
        seen.append(count)
        assert (event.epoch, event.step, event.count) == (0, step, count)
        assert event.accuracy == pytest.approx(accuracy)
        assert event.loss == pytest.approx(loss, rel=1e-5)
        np.testing.assert_allclose(
            workload.state.net.theta, theta, rtol=0, atol=1e-7
        )  # float32 alone rounds theta by 6e-8
    assert seen == [112, 112, 112, 112, 52]


def test_ranks_take_exactly_the_same_step():
    def theta(comm):
        running = Workload(comm, Config(**SETTINGS), images=IMAGES)
        steps = running.steps()
        for _ in range(STEPS):
            next(steps)
        return running.state.net.theta.tobytes()

    assert {*pretend.run(3, theta), *pretend.run(7, theta)} == {theta(Serial())}


def test_a_sum_of_other_images_is_not_used():
    class Twice(Serial):
        def allreduce_leaves(self, leaves, shards):
            leaves[0] += leaves[1]  # counted again below: as if an old message had been taken for a new one
            return super().allreduce_leaves(leaves, shards)

    workload = Workload(Twice(), Config(**SETTINGS), images=IMAGES)
    before = workload.state.net.theta.copy()
    with pytest.raises(ReplicaError, match="epoch 1, step 1 are those of 128 images, expected 112"):
        next(workload.steps())
    assert np.array_equal(workload.state.net.theta, before)
