"""Event files for TensorBoard: the run's figures as curves and histograms, in RUN/tensorboard/.

Every start of the run writes a new file. Its first entry tells TensorBoard to drop earlier points from that step on.
The same entry is written when the run goes back, so no point is shown twice. Steps count from the start of the run.
"""

import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from distlenet import atomic
from distlenet.atomic import Attempts
from distlenet.bounded import open_regular
from distlenet.errors import UsageError, missing_extra
from distlenet.training.events import EpochDone, Event, RunStarted, StepDone, warner
from distlenet.training.postmortem import Recorder
from distlenet.training.state import TrainState

BINS = 40  # of each histogram


def check_installed() -> None:
    """Raise UsageError, which names the extra, if the library for event files is missing."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise UsageError(missing_extra("--tensorboard", "tensorboardX", "tensorboard")) from error


class TensorBoard:
    """A listener that writes event files to ``directory``, every ``every`` steps and after each epoch.

    A full disk does not end the run. Points are lost, and a warning is announced, once until a write succeeds again.
    """

    def __init__(
        self, directory: Path, state: TrainState, recorder: Recorder, every: int, announce: Callable[[Event], None]
    ) -> None:
        self._state, self._recorder, self._every = state, recorder, every
        recorder.keep_gradient = True
        # TensorBoard reads the files in the order of their names
        self._path = directory / f"events.out.tfevents.{len(list(directory.glob('*'))):06d}.{socket.gethostname()}"
        self._attempts = Attempts(warner(announce), "training continues, TensorBoard lacks points")

    def on(self, event: Event) -> None:
        """See Listener."""
        if isinstance(event, RunStarted):
            self._begin(event)
        elif isinstance(event, StepDone) and self._state.progress.steps % self._every == 0:
            self._points(self._state.progress.steps, {**of_step(event), **self._gradient_norms()})
        elif isinstance(event, EpochDone):
            self._points(event.step, of_epoch(event))
            for name, part in self._state.net.parameters.items():
                self._histogram(event.step, f"weights/{name}", part.value)
            for name, gradient in self._recorder.latest_gradient(self._state.net).items():
                self._histogram(event.step, f"gradients/{name}", gradient)

    def _begin(self, event: RunStarted) -> None:
        """Tell TensorBoard to drop the points of later steps."""
        from tensorboardX.proto.event_pb2 import SessionLog

        # if the evaluation is still to come, its figures will be written at the latest step
        evaluated = event.step < event.steps_per_epoch
        log = SessionLog(status=SessionLog.START)
        self._write(event.epoch * event.steps_per_epoch + event.step + evaluated, session_log=log)

    def _gradient_norms(self) -> dict[str, float]:
        """Return the norms of the latest step's mean gradient before clipping: of each weight and of the whole."""
        _, _, norms = self._recorder.steps[-1]
        parameters = self._state.net.parameters
        found = {f"gradient_norm/{name}": norm for name, norm in norms.items() if parameters[name].is_weight}
        return {"gradient_norm": float(np.linalg.norm(list(norms.values()))), **found}

    def _points(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        self._write(step, summary=summary)

    def _histogram(self, step: int, name: str, values: np.ndarray) -> None:
        from tensorboardX.summary import histogram

        if np.isfinite(values).all():
            self._write(step, summary=histogram(name, values.ravel().astype(np.float64), BINS))

    def _write(self, step: int, **what: object) -> None:
        from tensorboardX.proto.event_pb2 import Event as Entry

        entries = [Entry(wall_time=time.time(), step=step, **what)]

        def write() -> None:
            self._path.parent.mkdir(exist_ok=True)
            if not self._path.exists():
                entries.insert(0, Entry(wall_time=time.time(), file_version="brain.Event:2"))
            for entry in entries:
                append(self._path, entry.SerializeToString())

        self._attempts.do(self._path, write)


def of_step(event: StepDone) -> dict[str, float]:
    """Return the points of one step."""
    return {
        "loss/batch": event.loss,
        "accuracy/batch": event.accuracy,
        "learning_rate": event.lr,
        "images_per_second/batch": event.count / event.seconds,
    }


def of_epoch(event: EpochDone) -> dict[str, float]:
    """Return the points of one epoch; the shares of its time add up to 1."""
    scores = {name: getattr(event, name) for name in ("running", "train", "validation", "test")}
    scores = {name: score for name, score in scores.items() if score}
    evaluating = event.evaluation_seconds / (event.seconds + event.evaluation_seconds)
    exchanging = event.exchange_share * (1 - evaluating)
    return {
        **{f"loss/{name}": score.loss for name, score in scores.items()},
        **{f"accuracy/{name}": score.accuracy for name, score in scores.items()},
        "images_per_second/epoch": event.images_per_second,
        "time_share/gradients_and_updates": 1 - evaluating - exchanging,
        "time_share/exchange": exchanging,
        "time_share/evaluation": evaluating,
    }


def append(path: Path, content: bytes) -> None:
    """Append a record to the file ``path``, whole or not at all: length, content, and a checksum of each.

    The format is TensorFlow's TFRecord. Raises OSError.
    """
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(content))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (length, content)]
    record = b"".join([length, checksums[0], content, checksums[1]])
    descriptor = open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        atomic.append(descriptor, record)
    finally:
        os.close(descriptor)
