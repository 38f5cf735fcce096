"""A checkpoint as a function from pictures to probabilities, for one process with any number of threads."""

import threading

import numpy as np

from distlenet.data.augmentation import Resampler
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
            logits = self._net.forward(self._resampler.normalize(image[None]))[:, 0].astype(np.float64)
        likely = np.exp(logits - logits.max())
        return likely / likely.sum()

    def best(self, image: np.ndarray, count: int = 3) -> list[tuple[str, float]]:
        """Return the ``count`` likeliest classes of ``image`` and their probabilities, the likeliest first."""
        likely = self.probabilities(image)
        return [(self.class_names[place], float(likely[place])) for place in np.argsort(-likely, kind="stable")[:count]]
