"""What happens after an epoch: evaluation by all ranks, and the choice of the best parameters."""

import time
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from distlenet.data.augmentation import Resampler
from distlenet.nn.schedules import Schedule
from distlenet.parallel import Communicator
from distlenet.training.evaluation import DatasetSlice, Result, evaluate
from distlenet.training.events import EpochDone, Event, Score
from distlenet.training.signals import Signals
from distlenet.training.state import TrainState


class EpochEnd:
    """Evaluates the parts that are to be watched: training, validation and, if asked for, test images."""

    def __init__(
        self,
        train: DatasetSlice,
        validation: DatasetSlice | None,
        test: DatasetSlice | None,
        resampler: Resampler,
        comm: Communicator,
        classes: int,
        signals: Signals,
    ) -> None:
        self.train, self.validation, self.test = train, validation, test
        self._resampler, self._comm, self._classes, self._signals = resampler, comm, classes, signals

    def evaluate(self, state: TrainState, part: DatasetSlice) -> Result:
        """Evaluate the network on ``part``, by all ranks."""
        return evaluate(state.net, part, self._resampler, self._comm, self._classes, self._signals)

    def run(
        self, state: TrainState, schedule: Schedule, seconds: float, images: int, exchange_share: float
    ) -> Iterator[Event]:
        """Evaluate, keep the best parameters in mind, add to the history; yields EpochDone.

        ``images`` were trained on in ``seconds``: fewer than the epoch's if the run was resumed within it.
        """
        begun = time.perf_counter()
        with state.net.using(state.averaged):
            train = self.evaluate(state, self.train)
            validation = self.evaluate(state, self.validation) if self.validation else None
            test = self.evaluate(state, self.test) if self.test else None
        running = state.progress.running
        event = EpochDone(
            epoch=state.progress.epoch,
            step=state.progress.steps,
            lr=state.progress.factor * schedule(state.progress.steps - 1),
            running=Score(running.loss / running.count, running.correct / running.count, int(running.count)),
            train=train.score,
            validation=validation.score if validation else None,
            test=test.score if test else None,
            seconds=seconds,
            evaluation_seconds=time.perf_counter() - begun,
            images_per_second=images / seconds,
            exchange_share=exchange_share,
        )
        state.progress.history.append(asdict(event))
        if validation and (state.progress.best_accuracy is None or validation.accuracy >= state.progress.best_accuracy):
            # among equals the later: the learning rate has fallen further
            state.progress.best_accuracy, state.progress.best_epoch = validation.accuracy, state.progress.epoch
            state.best_theta = np.copy(state.averaged)
        yield event
