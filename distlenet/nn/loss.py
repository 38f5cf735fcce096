"""Softmax with cross-entropy. A loss also knows its probabilities: nothing else turns logits into them."""

import numpy as np


class SoftmaxCrossEntropy:
    """The sum over the samples of -log softmax(logits)[label]."""

    def __init__(self) -> None:
        self._samples = np.arange(0)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return the softmax over the classes of ``logits`` (classes, N), each column adding up to 1."""
        exponentials = np.exp(logits - logits.max(axis=0))  # shifted: exp never overflows
        return exponentials / exponentials.sum(axis=0)

    def losses(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the cross-entropy of each sample (N,), in nats, for ``logits`` (classes, N)."""
        shifted = logits - logits.max(axis=0)
        return np.log(np.exp(shifted).sum(axis=0)) - shifted[labels, self._places(labels)]

    def loss_and_gradient(self, logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the summed loss and its gradient (classes, N) for ``logits`` and ``labels`` (N,)."""
        places = self._places(labels)
        shifted = logits - np.maximum.reduce(logits)  # over the classes
        dlogits = np.exp(shifted)
        total = np.add.reduce(dlogits)
        loss = (np.log(total) - shifted[labels, places]).sum()
        dlogits /= total
        dlogits[labels, places] -= 1
        return loss, dlogits

    def curvature(self, logits: np.ndarray) -> np.ndarray:
        """Return the second derivative of the loss with respect to each of ``logits`` (classes, N)."""
        probabilities = self.probabilities(logits)
        return probabilities * (1 - probabilities)

    def _places(self, labels: np.ndarray) -> np.ndarray:
        if len(self._samples) != len(labels):
            self._samples = np.arange(len(labels))
        return self._samples
