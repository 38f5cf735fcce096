"""The last layer of LeNet-5 (1998): distances to fixed codes, here the ten digits as pictures of 7x12 pixels.

Because the codes are pictures, digits that look alike have similar codes, and the network's mistakes are between
similar-looking digits (LeCun et al. 1998, section II-C). We drew the pictures ourselves.
"""

import numpy as np

from distlenet.errors import ConfigError
from distlenet.nn.layer import Layer

PICTURES = """
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
..###.. ...##.. .#####. .#####. ....##. ####### ..####. ####### .#####. .#####.
.##.##. ..###.. ##...## ##...## ...###. ##..... .##.... .....## ##...## ##...##
##...## .####.. .....## .....## ..####. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## .##.##. ##..... ##..... ....##. ##...## ##...##
##...## ...##.. ....##. ..####. ##..##. ######. ######. ....##. .#####. .######
##...## ...##.. ...##.. .....## ##..##. .....## ##...## ...##.. ##...## .....##
##...## ...##.. ..##... .....## ####### .....## ##...## ...##.. ##...## .....##
##...## ...##.. .##.... .....## ....##. .....## ##...## ..##... ##...## .....##
.##.##. ...##.. ##..... ##...## ....##. ##...## ##...## ..##... ##...## ....##.
..###.. .###### ####### .#####. ....##. .#####. .#####. ..##... .#####. .####..
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""


def digit_codes() -> np.ndarray:
    """Return the codes (10, 84): +1 for ink, -1 for paper, rows first."""
    lines = [line.split() for line in PICTURES.split("\n") if line]
    digits = ["".join(rows) for rows in zip(*lines, strict=True)]
    return np.array([[1.0 if pixel == "#" else -1.0 for pixel in digit] for digit in digits])


class RBF(Layer):
    """Scores (classes, N): the negated squared distance of x (inputs, N) from each of ``codes`` (classes, inputs).

    They are negated so that the largest score is the best, as for all other outputs. The codes are not trained.
    """

    shares_arrays = output_is_free = True

    def __init__(self, codes: np.ndarray) -> None:
        super().__init__()
        self._given = codes

    def connect(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """See Layer.connect."""
        if shape != self._given.shape[1:]:
            raise ConfigError(f"the codes have {self._given.shape[1]} elements, got samples of shape {shape}")
        self.codes: np.ndarray = self._given.astype(self.dtype)
        squares, self._squares = np.square(self.codes), np.zeros_like(self.codes[:, :1])  # (classes, 1)
        self.arithmetic.sum(self.arithmetic.factor(squares, self, "squares"), axis=1, out=self._squares[:, 0])
        return (len(self.codes),)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return (classes, N) for ``x`` (inputs, N), by |x - w|^2 = |x|^2 - 2 w x + |w|^2."""
        self._x, arithmetic = x, self.arithmetic
        codes, factor = arithmetic.kept_factor(self.codes, self, "codes"), arithmetic.factor(x, self, "x")
        scores = arithmetic.matmul(codes, factor, self.scratch("out", (len(codes), x.shape[-1])), self)
        scores *= 2
        scores -= self._squares
        scores -= arithmetic.total(np.square(x))
        return scores

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return (inputs, N) for ``dy`` (classes, N): sum over the classes of 2 (w - x) dy."""
        dx = self._spread(self.codes, dy, "dx")
        dx -= self._x * self.arithmetic.total(dy)
        dx *= 2
        return dx

    def _spread(self, codes: np.ndarray, dy: np.ndarray, key: str) -> np.ndarray:
        """Return the transposed ``codes`` (classes, inputs) times ``dy`` (classes, N), in the buffer ``key``."""
        arithmetic = self.arithmetic
        transposed, factor = arithmetic.kept_factor(codes, self, f"{key} codes").T, arithmetic.factor(dy, self, "dy")
        return arithmetic.matmul(transposed, factor, self.scratch(key, self._x.shape), self)

    def curvature(self, d2y: np.ndarray) -> np.ndarray:
        """Return (inputs, N), given MAPLoss's ``curvature``, the probabilities p (classes, N).

        Exact, without the diagonal approximation: 2 (1 - sum p) + the variance, under p, of the slopes
        2 (x - w), where the rubbish class, with probability 1 - sum p, has the slope 0.
        """
        x, total = self._x, self.arithmetic.total(d2y)
        spread = self._spread(self.codes, d2y, "spread")
        mean = x * total - spread  # of half the slopes
        square = np.square(x) * total - 2 * x * spread + self._spread(np.square(self.codes), d2y, "spread squares")
        curvature = np.maximum(2 * (1 - total) + 4 * (square - np.square(mean)), 0)  # rounding can make it negative
        return curvature.astype(x.dtype, copy=False)
