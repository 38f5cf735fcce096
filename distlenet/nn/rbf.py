"""The two halves of the last stage of LeNet-5 (1998): distances to fixed codes, and the loss on them."""

import numpy as np

from distlenet.errors import ConfigError
from distlenet.nn.layer import Layer
from distlenet.nn.loss import SoftmaxCrossEntropy


class RBF(Layer):
    """Scores (classes, N): minus the squared distance of x (inputs, N) from each of ``codes`` (classes, inputs).

    Minus, so that the best score is the largest, as with every other output. The codes are not trained.
    """

    def __init__(self, codes: np.ndarray) -> None:
        super().__init__()
        self._given = codes

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See Layer.connect."""
        if shape != self._given.shape[1:]:
            raise ConfigError(f"the codes have {self._given.shape[1]} elements, got samples of shape {shape}")
        self.codes = self._given.astype(self.dtype)
        self._squares = np.square(self.codes).sum(axis=1, keepdims=True)  # (classes, 1)
        return (len(self.codes),)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return (classes, N) for ``x`` (inputs, N), by |x - w|^2 = |x|^2 - 2 w x + |w|^2."""
        self._x = x
        scores = np.matmul(self.codes, x, out=self.scratch("out", (len(self.codes), x.shape[-1])))
        scores *= 2
        scores -= self._squares
        scores -= np.square(x).sum(axis=0)
        return scores

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return (inputs, N) for ``dy`` (classes, N): sum over the classes of 2 (w - x) dy."""
        dx = np.matmul(self.codes.T, dy, out=self.scratch("dx", self._x.shape))
        dx -= self._x * dy.sum(axis=0)
        dx *= 2
        return dx

    def curvature(self, d2y: np.ndarray) -> np.ndarray:
        """Return (inputs, N), given MAPLoss's ``curvature``, the probabilities p (classes, N).

        Exact, nothing taken to be diagonal: 2 (1 - sum p) + the variance, under p, of the slopes
        2 (x - w), where the rubbish class, of probability 1 - sum p, has the slope 0.
        """
        x, p, total = self._x, d2y, d2y.sum(axis=0)
        mean = x * total - self.codes.T @ p  # of half the slopes
        square = np.square(x) * total - 2 * x * (self.codes.T @ p) + np.square(self.codes).T @ p
        return np.maximum(2 * (1 - total) + 4 * (square - np.square(mean)), 0)  # rounding can make it negative


class MAPLoss(SoftmaxCrossEntropy):
    """The maximum a posteriori criterion: y_D + log(exp(-j) + sum_i exp(-y_i)) (LeCun et al. 1998, eq. 9).

    y are the distances, minus the scores; D is the label. It is the cross-entropy of a softmax with one
    more class, "rubbish", whose distance is always j. Small j: only the distance from the label's code
    counts; large j: only the differences between the classes.
    """

    def __init__(self, j: float = 10.0) -> None:
        super().__init__()
        self.j = j

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Return the probabilities (classes, N) for ``scores`` (classes, N); what a column lacks to 1 is rubbish."""
        return super().probabilities(self._with_rubbish(scores))[:-1]

    def losses(self, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the loss of each sample (N,) for ``scores`` (classes, N)."""
        return super().losses(self._with_rubbish(scores), labels)

    def loss_and_gradient(self, scores: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the summed loss and its gradient (classes, N) for ``scores`` and ``labels`` (N,)."""
        loss, gradient = super().loss_and_gradient(self._with_rubbish(scores), labels)
        return loss, gradient[:-1]

    def curvature(self, scores: np.ndarray) -> np.ndarray:
        """Return the probabilities (classes, N), from which RBF.curvature has its second derivatives."""
        return self.probabilities(scores)

    def _with_rubbish(self, scores: np.ndarray) -> np.ndarray:
        return np.concatenate([scores, np.full_like(scores[:1], -self.j)])
