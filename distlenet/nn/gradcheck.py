"""Gradient check: the backward pass against finite differences, in float64."""

from dataclasses import dataclass

import numpy as np

from distlenet.nn.net import Net


@dataclass(frozen=True)
class ParameterCheck:
    """How far one parameter's gradient is from finite differences."""

    name: str  # "C1/W"
    checked: int  # elements looked at
    worst: float  # largest |backward - difference| / max(1, |backward|, |difference|)


def check_gradients(
    net: Net, x: np.ndarray, labels: np.ndarray, elements: int = 20, epsilon: float = 1e-6, seed: int = 0
) -> list[ParameterCheck]:
    """Compare the gradient of ``net`` (float64) with central differences.

    ``x`` is (C, H, W, N) or (features, N), ``labels`` (N,). Looks at ``elements`` random elements of every
    parameter; a difference above 1e-6 means a wrong backward pass, unless an activation's kink lies
    within ``epsilon``.
    """
    analytic = np.zeros_like(net.theta)
    net.loss_and_grad(x, labels, analytic)
    random = np.random.Generator(np.random.Philox(seed))
    checks, start = [], 0
    for name, parameter in net.parameters.items():
        places = start + random.permutation(parameter.size)[:elements]
        worst = 0.0
        for place in places:
            value = net.theta[place]
            net.theta[place] = value + epsilon
            above = net.loss.losses(net.forward(x), labels).sum()
            net.theta[place] = value - epsilon
            below = net.loss.losses(net.forward(x), labels).sum()
            net.theta[place] = value
            difference = (above - below) / (2 * epsilon)
            scale = max(1.0, abs(analytic[place]), abs(difference))
            worst = max(worst, abs(analytic[place] - difference) / scale)
        checks.append(ParameterCheck(name, len(places), worst))
        start += parameter.size
    return checks
