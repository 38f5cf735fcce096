"""Softmax with cross-entropy, and the MAP criterion of LeNet-5 (1998).

Each loss also turns logits into probabilities; no other code does.
"""

import numpy as np

from distlenet.arithmetic import NATIVE, Arithmetic


class SoftmaxCrossEntropy:
    """The sum over the samples of -log softmax(logits)[label].

    For training, ``smoothing`` moves that share of each label to all classes alike (Szegedy et al. 2016): the network
    gains nothing from logits that are larger than needed.
    """

    arithmetic: Arithmetic = NATIVE  # set by the network

    def __init__(self, smoothing: float = 0.0) -> None:
        self.smoothing = smoothing
        self._samples = np.arange(0)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return the softmax over the classes of ``logits`` (classes, N), each column adding up to 1."""
        exponentials = self.arithmetic.exp(self._shifted(logits))
        return (exponentials / self.arithmetic.total(exponentials)).astype(logits.dtype, copy=False)

    def losses(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the cross-entropy of each sample (N,), in nats, for ``logits`` (classes, N)."""
        shifted, arithmetic = self._shifted(logits), self.arithmetic
        totals = arithmetic.total(arithmetic.exp(shifted))
        return arithmetic.log(totals) - shifted[labels, self._indices(labels)]

    def loss_and_gradient(self, logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the summed loss, smoothed, and its gradient (classes, N) for ``logits`` and ``labels`` (N,)."""
        columns, arithmetic = self._indices(labels), self.arithmetic
        shifted = self._shifted(logits)
        dlogits = arithmetic.exp(shifted)
        totals = arithmetic.total(dlogits)
        loss = arithmetic.total(arithmetic.log(totals) - shifted[labels, columns])
        dlogits /= totals
        dlogits[labels, columns] -= 1
        if self.smoothing:
            share, classes = dlogits.dtype.type(self.smoothing), len(logits)
            loss += share * arithmetic.total(shifted[labels, columns] - arithmetic.total(shifted) / classes)
            dlogits[labels, columns] += share
            dlogits -= share / classes
        return loss, dlogits.astype(logits.dtype, copy=False)

    def curvature(self, logits: np.ndarray) -> np.ndarray:
        """Return the second derivative of the loss with respect to each of ``logits`` (classes, N)."""
        probabilities = self.probabilities(logits)
        return probabilities * (1 - probabilities)

    def _shifted(self, logits: np.ndarray) -> np.ndarray:
        """Return ``logits`` (classes, N) minus the largest of each sample: their exponentials never overflow."""
        wide = self.arithmetic.widen(logits)
        return wide - np.maximum.reduce(wide)

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
