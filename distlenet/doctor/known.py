"""A short training on drawn digits whose result is known: under portable numerics, on every machine.

It is that of the second example in arithmetic/README.md, in memory.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from distlenet.arithmetic import choose
from distlenet.config import Config
from distlenet.data.augmentation import Resampler, build_augmentation
from distlenet.data.file.writer import mean_and_std
from distlenet.data.leaves import Leaves
from distlenet.data.plan import Plan
from distlenet.data.slices import DatasetFacts
from distlenet.data.sources.drawing import SIDE, draw_digits
from distlenet.nn import build_schedule
from distlenet.numerics import sha256
from distlenet.parallel import Serial
from distlenet.runs.experiment import make_state
from distlenet.training.bus import Bus
from distlenet.training.events import StepDone
from distlenet.training.loop import LoopOptions, take_step
from distlenet.training.signals import Signals
from distlenet.training.state import TrainState

IMAGES, STEPS = 1280, 20
SETTINGS: dict[str, Any] = {"epochs": 1, "batch_size": 64, "shards": 4, "validation": 0}
KNOWN = "b871d11e880d447239cdf6a23ba8e527e86aa6505a521a091b7bffda7f4d28f5"


class Drawn:
    """The digits that it trains on, in place of a dataset file."""

    image_shape = (SIDE, SIDE)

    def __init__(self) -> None:
        self.images, self.labels = draw_digits(IMAGES, 1998)  # the seed of prepare

    def read(self, split: str, start: int, stop: int, *, verify: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return images (n, 28, 28) uint8 and labels (n,)."""
        return self.images[start:stop], self.labels[start:stop]


def train_known(digits: Drawn, numerics: str) -> str:
    """Take the steps with ``numerics``, native or portable; return the SHA-256 of the parameters."""
    state, step = prepare(digits, numerics)
    for _ in range(STEPS):
        step()
    return sha256(state.net.theta)


def train_again_and_again(digits: Drawn) -> Iterator[StepDone]:
    """Take the native steps, and start again after the last one, without end."""
    while True:
        _, step = prepare(digits, "native")
        for _ in range(STEPS):
            yield step()


def prepare(digits: Drawn, numerics: str) -> tuple[TrainState, Callable[[], StepDone]]:
    """Return the state before the first step, and the function that takes the next one."""
    config, arithmetic = Config(**SETTINGS, numerics=numerics), choose(numerics)
    mean, std = mean_and_std(np.bincount(digits.images.ravel(), minlength=256))
    state = make_state(config, DatasetFacts("drawn digits", "", (SIDE, SIDE), tuple("0123456789"), mean, std))
    leaves = Leaves(
        digits,
        Plan(IMAGES, config.shards, config.batch_size, config.seed, arithmetic=arithmetic),
        range(config.shards),
        build_augmentation(config, SIDE, SIDE),
        Resampler(SIDE, SIDE, mean, std, arithmetic),
    )
    bus, options = Bus(config.shards, state.net.size), LoopOptions(build_schedule(config, STEPS), 1, Signals())
    return state, lambda: take_step(state, leaves, bus, options, Serial())[0]
