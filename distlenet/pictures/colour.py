"""Colours to one grey channel: the direction of colour along which ink and paper differ most.

Luminance would lose red ink on green paper, and weaken yellow on white.
"""

import numpy as np

from distlenet.pictures.filters import mean_filter, resized, shrunk

SMALL = 160  # pixels along the longer side at which the direction is found


def contrasting_grey(colours: np.ndarray) -> np.ndarray:
    """Return (rows, columns) float32 in 0 to 1 for ``colours`` (rows, columns, 3) in 0 to 1.

    The direction is the main axis of the local contrast, the difference of a pixel from its wide
    surroundings: uneven light, which is wider than those, has no part in it.
    """
    if all(np.array_equal(colours[..., 0], colours[..., other]) for other in (1, 2)):
        return np.ascontiguousarray(colours[..., 0])
    small = resized(colours, shrunk(colours.shape, SMALL))
    contrast = small - mean_filter(small, max(small.shape[:2]) // 4 | 1)
    contrast = contrast.reshape(-1, 3).astype(np.float64)
    _, axes = np.linalg.eigh(contrast.T @ contrast + 1e-6 * np.ones((3, 3)))  # grey where there is no contrast
    axis = axes[:, -1]
    axis *= 1 if axis.sum() >= 0 else -1
    low, high = axis[axis < 0].sum(), axis[axis > 0].sum()
    return ((colours @ axis - low) / (high - low)).astype(np.float32)
