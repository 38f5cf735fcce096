"""The curvature of Levenberg-Marquardt: its value, its times, and that it survives interruptions."""

import numpy as np
import pytest
import sessions

from distlenet.errors import NonFiniteError
from distlenet.parallel import Serial
from distlenet.runs.checkpoint_file import read_checkpoint
from distlenet.runs.experiment import RunOptions, set_up
from distlenet.training.bus import Bus, curvature_is_due, refresh_curvature
from distlenet.training.signals import Signals
from distlenet.training.state import broadcast_state
from distlenet.trust import Trust

FLAGS = {
    **{"model": "lenet5-1998", "init": "fan-in", "optimizer": "levenberg-marquardt", "lr": 0.001, "clip": 0.0},
    **{"epochs": 2, "batch_size": 24, "shards": 6, "train_sample": 50, "seed": 5, "curvature_samples": 100},
    **{"schedule": "published", "warmup": 0.01, "weight_decay": 0.0},
}
STEPS = 27  # per epoch: 642 images, shards of 107, leaves of 4 and a last one of 3


def prepared(digits, **more):
    """Return the experiment, and a function that estimates the curvature at its position."""
    options = RunOptions(data=str(digits), run_directory="nowhere", flags={**FLAGS, **more})
    experiment = set_up(options, Serial(), Signals())
    bus = Bus(len(experiment.leaves.shards), experiment.state.net.size)
    return experiment, lambda: refresh_curvature(experiment.state, experiment.leaves, bus, Serial())


def test_is_the_mean_over_the_next_steps_images(digits):
    experiment, refresh = prepared(digits)
    state, leaves = experiment.state, experiment.leaves
    found, count, part = np.zeros(state.net.size), 0, np.zeros_like(state.net.theta)
    for step in range(5):  # 5 * 24 >= 100
        for shard in leaves.shards:
            x, labels = leaves.load(0, step, shard)
            for image in range(len(labels)):
                state.net.curvature(np.ascontiguousarray(x[..., image : image + 1]), part)
                found += part
            count += len(labels)
    assert count == 120
    refresh()
    curvature = state.optimizer.state["curvature"]
    np.testing.assert_allclose(curvature, found / count, rtol=1e-4, atol=1e-9)
    assert (curvature >= 0).all() and (curvature > 0).any()


def test_few_images_left_are_enough(digits):
    experiment, refresh = prepared(digits, batch_size=600, shards=6, curvature_samples=5000)  # steps of 600 and 42
    refresh()
    assert (experiment.state.optimizer.state["curvature"] > 0).any()


def test_is_estimated_before_each_epoch_and_often_in_the_first(digits):
    assert [step for step in range(200) if curvature_is_due(0, step, 32)] == [0, 62, 124, 186]
    assert [step for step in range(200) if curvature_is_due(1, step, 32)] == [0]
    assert curvature_is_due(0, 1, 4000)
    experiment, refresh = prepared(digits)
    experiment.state.progress.epoch, experiment.state.progress.step = 1, 1
    refresh()
    assert not experiment.state.optimizer.state["curvature"].any()


def test_a_broadcast_state_includes_the_older_good_state(digits):
    experiment, refresh = prepared(digits)
    state = experiment.state
    assert state.good.is_of(state)
    before = state.good.vectors["optimizer/curvature"].copy()
    refresh()  # at the position of the good state
    broadcast_state(state, Serial())
    np.testing.assert_array_equal(state.good.vectors["optimizer/curvature"], before)


def test_other_optimizers_have_none(digits):
    experiment, refresh = prepared(digits, optimizer="nesterov")
    refresh()
    assert set(experiment.state.optimizer.state) == {"velocity"}


OWN = """
from distlenet.nn import Dense, Flatten, Layer, Sequential


class Odd(Flatten):
    curvature = Layer.curvature


def build(input_shape, classes):
    return Sequential(input_shape, Flatten(), Dense(5), Odd(), Dense(classes))
"""


def test_a_network_without_it_is_refused_at_the_start_by_all_ranks(digits, tmp_path):
    (tmp_path / "odd.py").write_text(OWN)
    model = f"{tmp_path / 'odd.py'}:build"
    sessions.train_run(digits, tmp_path / "run", 3, flags={**FLAGS, "model": model}, trust=Trust(named=model)).expect(
        3, "has no second derivatives, which --optimizer levenberg-marquardt needs"
    )
    assert not (tmp_path / "run").exists()


def test_no_non_finite_number_gets_into_it(digits):
    experiment, refresh = prepared(digits)
    experiment.state.net.theta[:] = np.nan
    with pytest.raises(NonFiniteError, match="the parameter C1/W"):
        refresh()
    assert not experiment.state.optimizer.state["curvature"].any()


@pytest.mark.parametrize(
    "chain",
    [
        [(1, 3), (2, None)],
        [(2, 40), (3, None)],  # within the second epoch, whose curvature is estimated at its start
        [(3, STEPS), (1, STEPS + 1), (6, None)],
    ],
    ids=str,
)
def test_a_run_resumes_with_the_same_bits(digits, tmp_path, chain):
    sessions.train_run(digits, tmp_path / "whole", flags=FLAGS, log_every=1).expect()
    sessions.parts(digits, tmp_path / "parts", FLAGS, *chain)
    assert sessions.results(tmp_path / "parts") == sessions.results(tmp_path / "whole")
    assert sessions.journal(tmp_path / "parts") == sessions.journal(tmp_path / "whole")
    last, expected = (read_checkpoint(tmp_path / run / "checkpoints/last.h5") for run in ("parts", "whole"))
    assert last.optimizer["curvature"].tobytes() == expected.optimizer["curvature"].tobytes()
    assert last.config.rubbish == 10.0 and last.build_net().loss.j == 10.0
    assert (last.dataset.mean, last.dataset.std) == pytest.approx((0.1 / 1.275, 1 / 1.275))
