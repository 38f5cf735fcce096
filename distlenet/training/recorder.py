"""A flight recorder: what a post-mortem needs to know of the last steps, at next to no cost a step.

The norms of the gradients are taken at every step (ten dot products). The parameters are copied now and then:
what went on within the network is worked out from the copies, if ever it is asked for.
"""

from collections import deque

import numpy as np

from distlenet.nn import Net
from distlenet.nn.inspection import norms
from distlenet.training.state import TrainState

STEPS = 200  # that are remembered
STRIDE = 25  # steps between two copies of the parameters
ROOM = 2**26  # bytes that the copies may take: of a very large network none are kept


class Recorder:
    """Remembers the last steps of this process; a resumed run starts with an empty one."""

    def __init__(self) -> None:
        # steps before, loss, gradient norms
        self.steps: deque[tuple[int, float, dict[str, float]]] = deque(maxlen=STEPS)
        self.copies: deque[tuple[int, np.ndarray]] = deque(maxlen=STEPS // STRIDE)  # steps before, theta
        self.keep_gradient = False  # of the latest step: somebody wants to see it
        self._gradient: np.ndarray | None = None  # (parameters,)

    def note(self, state: TrainState, loss: float, gradient: np.ndarray) -> None:
        """Remember the step that is about to be taken: its ``loss`` and mean ``gradient`` (parameters,)."""
        self.steps.append((state.progress.steps, loss, norms(state.net, gradient)))
        if self.keep_gradient:
            if self._gradient is None:
                self._gradient = np.empty_like(gradient)
            np.copyto(self._gradient, gradient)  # the optimizer may write over it
        if state.progress.steps % STRIDE == 0 and (most := min(self.copies.maxlen, ROOM // state.net.theta.nbytes)):
            full = len(self.copies) == most
            copy = self.copies.popleft()[1] if full else np.empty_like(state.net.theta)  # memory does not grow
            np.copyto(copy, state.net.theta)
            self.copies.append((state.progress.steps, copy))

    def latest_gradient(self, net: Net) -> dict[str, np.ndarray]:
        """Return the mean gradient of the latest step by parameter; nothing if it was not kept."""
        if self._gradient is None:
            return {}
        return net.views(self._gradient)

    def clear(self) -> None:
        """Forget everything: the run has gone back."""
        self.steps.clear()
        self.copies.clear()
