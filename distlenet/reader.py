"""Reads images with a checkpoint's network and its normalisation; predict, page, report and API all use it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from distlenet.data.augmentation import Resampler
from distlenet.data.slices import chunk_of
from distlenet.errors import DataError
from distlenet.nn import Layer
from distlenet.nn.inspection import outputs
from distlenet.numerics import one_thread
from distlenet.runs.checkpoint import Checkpoint

CONFUSIONS = 15  # rows of the list of confusions
LEAST = 0.5  # a less probable answer becomes a question, "1 or 7?"; on pictures like photographs nearly all were wrong
CLOSE = 0.1  # a second reading that is at least as probable is named


@dataclass(frozen=True)
class Predictions:
    """What a network says of n images; of a single image, the arrays lack their first axis."""

    class_names: tuple[str, ...]
    probabilities: np.ndarray  # (n, classes) float64, 0 to 1
    labels: np.ndarray  # (n,) int64: the likeliest class, by its name where all are whole numbers, else its position

    @property
    def sure(self) -> np.ndarray:
        """Whether each answer is likely enough, (n,) bool; `predict` asks instead of answering where it is not."""
        return np.asarray(self.probabilities.max(axis=-1) >= LEAST)

    @property
    def names(self) -> list[str] | str:
        """The name of the likeliest class of each image, or of the single one."""
        places = self.probabilities.argmax(axis=-1)
        return self.class_names[places] if places.ndim == 0 else [self.class_names[place] for place in places]


class Reader:
    """Classifies normalised pictures, in one process with any number of threads.

    ``images`` are (n, rows, columns) uint8, 0 for paper; an ``image`` is one of them. Probabilities are computed by
    the network's loss: with a rubbish class (LeNet-5 of 1998) they may add up to less than 1. Raises the errors of
    Checkpoint.build_net.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        facts = checkpoint.dataset
        self._config = checkpoint.config
        self.class_names, self.image_shape = facts.class_names, facts.image_shape
        self.path, self.model = checkpoint.path, checkpoint.model
        self.net = checkpoint.build_net()
        self._resampler = Resampler(*facts.image_shape, facts.mean, facts.std, self.net.arithmetic)
        self._lock = threading.Lock()  # the layers' buffers serve one call at a time

    def __repr__(self) -> str:
        facts = f"model={self.model!r}, classes={len(self.class_names)}, image_shape={self.image_shape}"
        return f"Reader({str(self.path)!r}, {facts})"

    def predict(self, images: ArrayLike) -> Predictions:
        """Return what ``images`` show; of many, a few hundred are worked on at a time.

        ``images`` are (n, rows, columns), or (rows, columns) for a single one, of the size the network was trained
        on (MNIST: 28 x 28), bright on dark. Integers of any width are pixels of 0 (paper) to 255 (ink). Floats are
        pixels of 0.0 (paper) to 1.0 (ink), and are rounded to the nearest of 256 levels: 0.5 is 128. Bools are 0 or
        255. Nothing else is done to them: they are not inverted, cropped or centred.

        Raises DataError: another shape or type, or a number out of its range.

        >>> reader = distlenet.load("runs/a")
        >>> reader.predict(images).labels[:3]
        array([7, 2, 1])
        """
        given = np.asarray(images)
        pixels = as_bytes(given, self.image_shape)
        chunk = chunk_of(self._config)
        starts = range(0, len(pixels), chunk)
        with one_thread():
            parts = [self.likely(self.logits(pixels[start : start + chunk])).T for start in starts]
        probabilities = np.concatenate([np.empty((0, len(self.class_names))), *parts])
        numbered = all(name.isdecimal() and len(name) < 19 for name in self.class_names)
        values = np.array([int(name) if numbered else place for place, name in enumerate(self.class_names)])
        labels = values[probabilities.argmax(axis=1)]
        single = given.ndim == 2
        return Predictions(
            self.class_names, probabilities[0] if single else probabilities, labels[0] if single else labels
        )

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


def as_bytes(images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return ``images`` as uint8 (n, rows, columns); see Reader.predict. Raises DataError."""
    expected = f"expected (n, {shape[0]}, {shape[1]}), or {shape} for a single image"
    if images.shape[-2:] != shape or images.ndim not in (2, 3):
        pixels = shape[0] * shape[1]
        flat = images.ndim in (1, 2) and images.shape[-1] == pixels
        advice = f": take .reshape(-1, {shape[0]}, {shape[1]})" if flat else ""
        raise DataError(f"the images have shape {images.shape}, {expected}{advice}")
    kind, images = images.dtype.kind, images.reshape(-1, *shape)
    if kind not in "buif":
        raise DataError(f"the images are of type {images.dtype}, expected integers of 0 to 255 or floats of 0 to 1")
    if kind == "b":
        return images.astype(np.uint8) * np.uint8(255)
    most = 1 if kind == "f" else 255
    if images.dtype != np.uint8 and images.size and not (images.min() >= 0 and images.max() <= most):  # also NaN
        advice = ": divide them by 255, or give uint8" if kind == "f" and 1 < images.max() <= 255 else ""
        found = f"{images.dtype} from {images.min():g} to {images.max():g}"
        raise DataError(f"the images are {found}, expected integers of 0 to 255 or floats of 0 to 1{advice}")
    return np.rint(images * np.float64(255)).astype(np.uint8) if kind == "f" else images.astype(np.uint8)


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
