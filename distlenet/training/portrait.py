"""What goes on within a network: the output of every layer, on a few training images.

Computed when it is asked for, from parameters that were kept: a step pays nothing for it.
"""

from typing import Any

import numpy as np

from distlenet.data.leaves import Leaves
from distlenet.nn import Net
from distlenet.training.recorder import norms, slices

IMAGES = 64  # at least, where the shard has as many


def some_images(leaves: Leaves, epoch: int) -> np.ndarray:
    """Return x (1, rows, columns, n): the first leaves of the rank's first shard in ``epoch``."""
    found, count = [], 0
    for step in range(leaves.plan.steps_per_epoch):
        x, _ = leaves.load(epoch, step, leaves.shards[0])
        found.append(x.copy())
        count += x.shape[-1]
        if count >= IMAGES:
            break
    return np.concatenate(found, axis=-1)


def portray(net: Net, theta: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    """Return figures of all layers, for JSON: with the parameters ``theta``, on the images ``x`` (1, rows, columns, n).

    ``dead`` units are zero for every image: feature maps of a convolution, neurons of a dense layer. ``spread`` is
    the median distance of an output from its median over the images, of the output where it is largest: 0 when
    most images get the same answer, whatever a few of them set off in a dying network.
    """
    before, layers = net.theta.copy(), []
    net.theta[:] = theta
    try:
        for layer, y in net.walk(x):
            units = np.moveaxis(y, -4 if y.ndim > 2 else 0, 0).reshape(y.shape[-4 if y.ndim > 2 else 0], -1)
            layers.append(
                {
                    "name": layer.name,
                    "mean": number(y.mean()),
                    "deviation": number(y.std()),
                    "largest": number(abs(y).max()),
                    "zeros": number((y == 0).mean()),
                    "units": len(units),
                    "dead": int((units == 0).all(axis=1).sum()),
                    "saturated": number((abs(y) > 0.99).mean()),
                }
            )
        distances = abs(y - np.median(y, axis=-1, keepdims=True))
        spread = np.median(distances, axis=-1).max()
        weight_norms = [number(norm) for norm in norms(net.theta.astype(np.float64), slices(net))]
    finally:
        net.theta[:] = before
    return {
        "layers": layers,
        "spread": number(spread),
        "weight_norms": dict(zip(net.parameters, weight_norms, strict=True)),
    }


def number(value: float) -> float | None:
    """Return ``value`` for JSON, which knows no NaN and no infinity."""
    return float(value) if np.isfinite(value) else None
