"""The choice of the best epoch."""

from dataclasses import replace

import numpy as np
import pytest

from distlenet.config import Config
from distlenet.nn import build_net, build_optimizer
from distlenet.parallel import Serial
from distlenet.training.epoch_end import EpochEnd
from distlenet.training.evaluation import Result
from distlenet.training.signals import Signals
from distlenet.training.state import Running, TrainState


class Marked(EpochEnd):
    """Does not evaluate: a part is (how many of its 100 images are right,)."""

    def evaluate(self, state, part):
        return Result(1.0, np.array([[part[0], 0], [100 - part[0], 0]]))


@pytest.mark.parametrize(
    ("right", "best"),
    [
        ([50, 60, 70], [0, 1, 2]),
        ([70, 60, 50], [0, 0, 0]),
        ([60, 60, 60], [0, 1, 2]),  # among equals the later: its learning rate has fallen further
        ([50, 70, 60, 70, 69], [0, 1, 1, 3, 3]),
        ([0, 0], [0, 1]),
    ],
)
@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_best_epoch(right, best, average):
    net = build_net(Config(), (1, 28, 28), 10)
    state = TrainState(net, build_optimizer(Config(optimizer="sgd", average=average), net.decays))
    for epoch, (validation, expected) in enumerate(zip(right, best, strict=True)):
        state.progress = replace(state.progress, epoch=epoch, steps=epoch + 1, running=Running(1.0, 1.0, 1.0))
        state.averaged[:] = epoch
        ends = Marked((99 - epoch,), (validation,), (10 * epoch,), None, Serial(), 2, Signals())  # others do not choose
        (event,) = ends.run(state, lambda step: 0.1, 1.0, 100, 0.0)
        assert event.validation.accuracy == validation / 100
        assert state.progress.best_epoch == expected
        assert state.progress.best_accuracy == right[expected] / 100
        assert (state.best_theta == expected).all()


def test_without_validation_nothing_is_chosen():
    net = build_net(Config(), (1, 28, 28), 10)
    state = TrainState(net, build_optimizer(Config(optimizer="sgd", weight_decay=0.0, clip=0.0), net.decays))
    state.progress = replace(state.progress, steps=1, running=Running(1.0, 1.0, 1.0))
    list(Marked((90,), None, (90,), None, Serial(), 2, Signals()).run(state, lambda step: 0.1, 1.0, 100, 0.0))
    assert state.progress.best_epoch is state.progress.best_accuracy is state.best_theta is None
