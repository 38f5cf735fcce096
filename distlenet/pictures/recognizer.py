"""A checkpoint as a function from pictures to probabilities, for one process with any number of threads."""

import threading

import numpy as np

from distlenet.data.augmentation import Resampler
from distlenet.nn import Layer
from distlenet.nn.inspection import outputs
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
        """Return (classes,) float64 for ``image`` (rows, columns) uint8, 0 for paper.

        They are those of the network's loss: with a rubbish class (LeNet-5 of 1998) they may add up to less than 1.
        """
        with self._lock:
            return self._likely(self._net.forward(self._resampler.normalize(image[None]))[:, 0])

    def look(self, image: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the ``probabilities`` of ``image``, and what each of ``layers`` puts out, (C, H, W) or (units,)."""
        with self._lock:
            found = [value[..., 0] for _, value in outputs(self._net, self._resampler.normalize(image[None]))]
        return self._likely(found[-1]), found

    @property
    def layers(self) -> list[Layer]:
        """The layers of the network, in order."""
        return self._net.layers

    def best(self, image: np.ndarray, count: int | None = 3) -> list[tuple[str, float]]:
        """Return the ``count`` likeliest classes (None: all) of ``image``, the likeliest first, with probabilities."""
        likely = self.probabilities(image)
        order = np.argsort(-likely, kind="stable")[:count]
        return [(self.class_names[place], float(likely[place])) for place in order]

    def _likely(self, logits: np.ndarray) -> np.ndarray:
        return self._net.loss.probabilities(logits[:, None].astype(np.float64))[:, 0]
