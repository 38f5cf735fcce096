"""What every layer puts out, for looking at it."""

import numpy as np

from distlenet.nn.net import Net
from distlenet.nn.split import merged, picture_size, plain


def outputs(net: Net, x: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return (name, output) of every layer for ``x`` (C, H, W, N): copies, (C, H, W, N) or (units, N).

    Layers overwrite each other's memory, so each output is copied before the next layer runs.
    """
    found = []
    value = plain(x)
    for layer in net.layers:
        value = layer.forward(value)
        if value.ndim == 6:  # split by phase: see split.py
            shape = (1, 1, value.shape[2], *picture_size(value), value.shape[-1])
            found.append((layer.name, merged(value, np.empty(shape, value.dtype))[0, 0].copy()))
        else:
            found.append((layer.name, value.copy()))
    return found
