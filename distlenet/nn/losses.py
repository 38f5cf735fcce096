"""Softmax with cross-entropy, and the MAP criterion of LeNet-5 (1998).

Each loss also turns logits into probabilities; no other code does.
"""

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
        return np.log(np.exp(shifted).sum(axis=0)) - shifted[labels, self._indices(labels)]

    def loss_and_gradient(self, logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the summed loss and its gradient (classes, N) for ``logits`` and ``labels`` (N,)."""
        columns = self._indices(labels)
        shifted = logits - np.maximum.reduce(logits)  # over the classes
        dlogits = np.exp(shifted)
        total = np.add.reduce(dlogits)
        loss = (np.log(total) - shifted[labels, columns]).sum()
        dlogits /= total
        dlogits[labels, columns] -= 1
        return loss, dlogits

    def curvature(self, logits: np.ndarray) -> np.ndarray:
        """Return the second derivative of the loss with respect to each of ``logits`` (classes, N)."""
        probabilities = self.probabilities(logits)
        return probabilities * (1 - probabilities)

    def _indices(self, labels: np.ndarray) -> np.ndarray:
        if len(self._samples) != len(labels):
            self._samples = np.arange(len(labels))
        return self._samples


class MAPLoss(SoftmaxCrossEntropy):
    """The maximum a posteriori criterion: y_D + log(exp(-j) + sum_i exp(-y_i)) (LeCun et al. 1998, eq. 9).

    The y are the distances, which are the negated scores; D is the label. This is the cross-entropy of a softmax
    with an additional class "rubbish" at the fixed distance j. With small j only the distance from the label's
    code counts, with large j only the differences between the classes.
    """

    def __init__(self, j: float = 10.0) -> None:
        super().__init__()
        self.j = j

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Return the probabilities (classes, N) for ``scores`` (classes, N); rubbish has the remainder to 1."""
        return super().probabilities(self._with_rubbish(scores))[:-1]

    def losses(self, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the loss of each sample (N,) for ``scores`` (classes, N)."""
        return super().losses(self._with_rubbish(scores), labels)

    def loss_and_gradient(self, scores: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the summed loss and its gradient (classes, N) for ``scores`` and ``labels`` (N,)."""
        loss, gradient = super().loss_and_gradient(self._with_rubbish(scores), labels)
        return loss, gradient[:-1]

    def curvature(self, scores: np.ndarray) -> np.ndarray:
        """Return the probabilities (classes, N), from which RBF.curvature computes its second derivatives."""
        return self.probabilities(scores)

    def _with_rubbish(self, scores: np.ndarray) -> np.ndarray:
        return np.concatenate([scores, np.full_like(scores[:1], -self.j)])
