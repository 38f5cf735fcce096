"""A training run of any size on random pictures: the real loop, without files."""

from collections.abc import Iterator

import numpy as np

from distlenet.arithmetic import choose
from distlenet.config import Config
from distlenet.data.augmentation import Resampler, build_augmentation
from distlenet.data.leaves import Leaves
from distlenet.data.plan import Plan
from distlenet.data.slices import DatasetFacts
from distlenet.nn import Net, constant, lenet5
from distlenet.nn.schedules import Schedule
from distlenet.parallel import Communicator, owned_shards
from distlenet.runs.experiment import make_state
from distlenet.training.evaluation import EpochEnd, EpochPace
from distlenet.training.events import Event, StepDone
from distlenet.training.loop import LoopOptions, train
from distlenet.training.signals import Signals
from distlenet.training.state import TrainState

MULTIPLY_ADDS = 416_520  # LeNet-5's forward pass, per picture: 117,600 + 240,000 + 48,000 + 10,080 + 840
FIRST_LAYER = 117_600  # its input needs no gradient
TRAINING_FLOPS = 2 * (3 * MULTIPLY_ADDS - FIRST_LAYER)  # forward, weight gradients, input gradients


def network() -> Net:
    """Return LeNet-5 with its initial parameters."""
    net = lenet5()
    net.initialize("he", 1)
    return net


class RandomDigits:
    """Stands in for an open dataset file: ``images`` random pictures of 28x28, the same on every rank."""

    image_shape = (28, 28)

    def __init__(self, images: int) -> None:
        random = np.random.Generator(np.random.Philox(7))
        # about one pixel in five is ink, as in MNIST
        self._images = random.integers(0, 256, (images, 28, 28), np.uint8) * (random.random((images, 28, 28)) < 0.2)
        self._labels = random.integers(0, 10, images, np.uint8)

    def read(self, split: str, start: int, stop: int, *, verify: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return images (n, 28, 28) uint8 and labels (n,)."""
        return self._images[start:stop], self._labels[start:stop]


class Workload:
    """One rank's state and leaves in such a run."""

    def __init__(self, comm: Communicator, config: Config, images: int = 16_384) -> None:
        self.comm = comm
        self.state = make_state(config, DatasetFacts("random", "", (28, 28), tuple("0123456789"), 0.13, 0.31))
        arithmetic = choose(config.numerics)
        self.resampler = Resampler(28, 28, 0.13, 0.31, arithmetic)
        self.leaves = Leaves(
            RandomDigits(images),
            Plan(images, config.shards, config.batch_size, config.seed, arithmetic=arithmetic),
            owned_shards(comm.rank, comm.size, config.shards),
            build_augmentation(config, 28, 28),
            self.resampler,
        )

    def steps(self) -> Iterator[StepDone]:
        """Train forever; yields every step with its time."""
        options = LoopOptions(constant(0.01), 10**6, Signals())
        for event in train(self.state, self.leaves, NoEvaluation(), options, self.comm):
            if isinstance(event, StepDone):
                yield event


def steps(comm: Communicator, config: Config, images: int = 16_384) -> Iterator[StepDone]:
    """Train forever on ``images`` pictures; yields every step with its time."""
    return Workload(comm, config, images).steps()


class NoEvaluation(EpochEnd):
    """An epoch end without evaluation."""

    def __init__(self) -> None:
        """Do nothing."""

    def run(self, state: TrainState, schedule: Schedule, pace: EpochPace) -> Iterator[Event]:
        """Yield nothing."""
        return iter(())
