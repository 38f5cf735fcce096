"""A checkpoint as a function from pictures to probabilities, for one process with any number of threads."""

import threading

import numpy as np

from distlenet.data.augmentation import Resampler
from distlenet.nn import Layer
from distlenet.nn.outputs import outputs
from distlenet.training.checkpoint import Checkpoint


class Recognizer:
    """Names what normalised pictures show; all its memory is allocated at the first picture."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        facts = checkpoint.dataset
        self.class_names, self.image_shape = facts.class_names, facts.image_shape
        self._net = checkpoint.build_net()
        self._resampler = Resampler(*facts.image_shape, facts.mean, facts.std)
        self._lock = threading.Lock()  # the layers' buffers serve one picture at a time

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Return (classes,) float64 that add up to 1, for ``image`` (rows, columns) uint8, 0 for paper."""
        with self._lock:
            return _softmax(self._net.forward(self._resampler.normalize(image[None]))[:, 0])

    def look(self, image: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the ``probabilities`` of ``image``, and what each of ``layers`` puts out, (C, H, W) or (units,)."""
        with self._lock:
            found = [value[..., 0] for _, value in outputs(self._net, self._resampler.normalize(image[None]))]
        return _softmax(found[-1]), found

    @property
    def layers(self) -> list[Layer]:
        """The layers of the network, in order."""
        return self._net.layers

    def best(self, image: np.ndarray, count: int = 3) -> list[tuple[str, float]]:
        """Return the ``count`` likeliest classes of ``image`` and their probabilities, the likeliest first."""
        likely = self.probabilities(image)
        return [(self.class_names[place], float(likely[place])) for place in np.argsort(-likely, kind="stable")[:count]]


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Return (classes,) float64 that add up to 1, for ``logits`` (classes,)."""
    likely = np.exp(logits.astype(np.float64) - logits.max())
    return likely / likely.sum()
