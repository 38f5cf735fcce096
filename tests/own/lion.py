import numpy as np

from distlenet.nn import Optimizer


class Lion(Optimizer):
    """The sign of a mean gradient (Chen et al. 2023)."""

    state_names = ("mean",)  # vectors of zeros at the start, kept in checkpoints

    def update(self, theta, gradient, lr):  # (parameters,) float32 each; theta is changed in place
        mean = self.state["mean"]
        theta -= lr * (np.sign(0.9 * mean + 0.1 * gradient) + self.decay * theta)
        mean += 0.01 * (gradient - mean)
