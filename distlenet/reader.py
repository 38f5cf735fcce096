"""Reads images with a checkpoint's network and its normalisation; predict, page, report and API all use it."""

import threading
from collections.abc import Sequence

import numpy as np

from distlenet.data.augmentation import Resampler
from distlenet.nn import Layer
from distlenet.nn.inspection import outputs
from distlenet.runs.checkpoint import Checkpoint

CONFUSIONS = 15  # rows of the list of confusions


class Reader:
    """Classifies normalised pictures, in one process with any number of threads.

    ``images`` are (n, rows, columns) uint8, 0 for paper; an ``image`` is one of them. Probabilities are computed by
    the network's loss: with a rubbish class (LeNet-5 of 1998) they may add up to less than 1. Raises the errors of
    Checkpoint.build_net.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        facts = checkpoint.dataset
        self.class_names, self.image_shape = facts.class_names, facts.image_shape
        self.net = checkpoint.build_net()
        self._resampler = Resampler(*facts.image_shape, facts.mean, facts.std)
        self._lock = threading.Lock()  # the layers' buffers serve one call at a time

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return the network's output (classes, n)."""
        with self._lock:
            return self.net.forward(self._resampler.normalize(images)).copy()

    def likely(self, logits: np.ndarray) -> np.ndarray:
        """Return the probabilities (classes, n) float64 of ``logits`` (classes, n)."""
        return self.net.loss.probabilities(logits.astype(np.float64))

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Return (classes,) float64."""
        return self.likely(self.logits(image[None]))[:, 0]

    def best(self, image: np.ndarray, count: int | None = 3) -> list[tuple[str, float]]:
        """Return the ``count`` most likely classes (None: all), most likely first, with their probabilities."""
        likely = self.probabilities(image)
        order = np.argsort(-likely, kind="stable")[:count]
        return [(self.class_names[index], float(likely[index])) for index in order]

    def outputs(self, images: np.ndarray) -> list[tuple[Layer, np.ndarray]]:
        """Return every layer, in order, with its output, (C, H, W, n) or (units, n)."""
        with self._lock:
            return outputs(self.net, self._resampler.normalize(images))

    def gradient(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the mean gradient (parameters,) of the loss over ``images`` with ``labels`` (n,)."""
        gradient = np.zeros_like(self.net.theta)
        with self._lock:
            self.net.loss_and_grad(self._resampler.normalize(images), labels.astype(np.intp), gradient)
        return gradient / len(labels)


def per_class(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Return "precision", "recall", "f1" and "support", each float64 (classes,); 0 where undefined.

    Arguments:
        confusion: int64 (classes, classes), [true, predicted].
    """
    right = np.diagonal(confusion).astype(np.float64)
    support = confusion.sum(axis=1).astype(np.float64)
    predicted = confusion.sum(axis=0).astype(np.float64)
    return {
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, support),
        "f1": _ratio(2 * right, support + predicted),
        "support": support,
    }


def confusions(confusion: np.ndarray, names: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return the most frequent errors in ``confusion``, int64 (classes, classes), as rows: true, predicted, images."""
    wrong = confusion - np.diag(np.diagonal(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]
    pairs = np.stack(np.unravel_index(order, wrong.shape), axis=1).tolist()
    return [(names[true], names[found], f"{wrong[true, found]:,}") for true, found in pairs if wrong[true, found]]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
