"""The one vector that travels between ranks in a step: all gradients, then a short tail.

What the ranks must agree on rides in the tail and is added up with the gradients, so that a step needs
no second message.
"""

import numpy as np

from distlenet.training.signals import STOPS

TAIL = ("loss", "correct", "count", "saves", *STOPS)


class Bus:
    """The leaves of one rank's shards, (owned shards, parameters + tail) float32."""

    def __init__(self, owned: int, parameters: int) -> None:
        self.parameters = parameters
        self.leaves = np.zeros((owned, parameters + len(TAIL)), np.float32)

    def gradient(self, slot: int) -> np.ndarray:
        """Return the view (parameters,) that the gradient of the leaf ``slot`` is written to."""
        return self.leaves[slot, : self.parameters]

    def set_tail(self, slot: int, **values: float) -> None:
        """Fill the tail of the leaf ``slot``; what is not named is zero."""
        self.leaves[slot, self.parameters :] = [values.get(name, 0) for name in TAIL]

    def clear(self, slot: int) -> None:
        """Make the leaf ``slot`` empty: zeros, added like any other."""
        self.leaves[slot] = 0

    def split(self, total: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        """Return the gradient (parameters,) and the tail by name of a reduced vector."""
        return total[: self.parameters], dict(zip(TAIL, total[self.parameters :].tolist(), strict=True))
