"""Taking the paper away: uneven light and shadows, dark on light or light on dark, noise.

The paper's brightness is estimated at a small size: a smooth surface through the brighter pixels takes up slow
changes of light, then a morphological closing, which fills strokes but keeps edges of shadows, the rest. Which
of the two is the ink, the dark or the light, is decided by the border and by the sharper edges.
"""

import numpy as np

from distlenet.errors import PictureError
from distlenet.pictures.filters import closing, mean_filter, resized

SMALL = 96  # pixels along the longer side at which the paper is estimated
WIDEST = 0.4  # widest stroke, as a share of the longer side
FAINTEST = 0.08  # least darkness of ink, as a share of the paper's brightness
MOST_OF_BORDER = 0.3  # largest share of the border that ink covers
DARKEST = 0.2  # paper darker than this is measured as if it were this bright: else its noise would be ink
MOST = 0.7  # largest share of the picture that ink covers


def ink_on_paper(grey: np.ndarray) -> np.ndarray:
    """Return the ink (rows, columns) float32, 0 to 1, of a ``grey`` picture in 0 to 1.

    Raises PictureError where nothing stands out from the paper.
    """
    found = [ink for ink in (_ink(_darkness(grey)), _ink(_darkness(1 - grey))) if ink is not None]
    if not found:
        raise PictureError("the picture is blank: nothing stands out from the paper")
    found = [ink for ink in found if _share_of_border(ink) <= MOST_OF_BORDER]
    if not found:
        raise PictureError("no digit can be told from the paper: what stands out runs along the picture's border")
    ink = max(found, key=lambda ink: _likeliness(ink, grey))
    if (ink > 0.5).mean() > MOST:
        raise PictureError("no digit can be told from the paper: too much of the picture is as dark as ink")
    return ink


def _border(picture: np.ndarray) -> np.ndarray:
    return np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])


def _share_of_border(ink: np.ndarray) -> float:
    return float((_border(ink) > 0.5).mean())


def _likeliness(ink: np.ndarray, grey: np.ndarray) -> float:
    """Return how much speaks for ``ink``: its edges are those of the picture, it is unlike the border and hardly on it.

    Light is not even: beyond some contrast with the border, more contrast means nothing.
    """
    steps = [(np.diff(ink, axis=axis), np.diff(grey, axis=axis)) for axis in (0, 1)]
    edges = sum(float(np.sum(ours * theirs)) for ours, theirs in steps)
    explained = edges**2 / max(sum(float(np.sum(ours * ours)) for ours, _ in steps), 1e-9)
    contrast = np.sign(edges) * (np.median(grey[ink > 0.5]) - np.median(_border(grey)))
    return explained * float(np.clip(contrast, 0.001, 0.15)) * (1 - _share_of_border(ink)) ** 2


def _darkness(grey: np.ndarray) -> np.ndarray:
    """Return how much darker than the paper each pixel is, as a share of the paper's brightness there."""
    rows, columns = grey.shape
    shrink = max(1.0, max(rows, columns) / SMALL)
    small = resized(grey, (max(1, round(rows / shrink)), max(1, round(columns / shrink))))
    surface = np.maximum(_smooth_surface(small), 0.05)
    paper = closing(small / surface, int(WIDEST * max(small.shape)) | 1) * surface
    return 1 - grey / np.maximum(resized(paper, grey.shape), DARKEST)


def _smooth_surface(small: np.ndarray) -> np.ndarray:
    """Return the quadratic surface through the paper: pixels well below it (ink) are left out, in rounds."""
    y, x = (np.linspace(-1, 1, size) for size in small.shape)
    y, x = (part.ravel() for part in np.meshgrid(y, x, indexing="ij"))
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    values = small.ravel().astype(np.float64)
    kept = values >= np.median(values) - 0.02
    for _ in range(6):
        weights, *_ = np.linalg.lstsq(terms[kept], values[kept], rcond=None)
        left = values - terms @ weights
        spread = 1.5 * np.median(np.abs(left[kept])) + 0.01
        again = left > -2.5 * spread
        if again.sum() < 0.3 * len(values) or (again == kept).all():
            break
        kept = again
    low, high = np.percentile(small, [1, 100])
    return np.clip(terms @ weights, low, high).reshape(small.shape)


def _ink(darkness: np.ndarray) -> np.ndarray | None:
    """Return ``darkness`` as ink, 0 for the paper with its noise to 1 for a stroke; None if there is none."""
    smooth = mean_filter(darkness, 3) if min(darkness.shape) > 64 else darkness
    count = max(4, round(0.002 * smooth.size))
    threshold = 0.5 * np.partition(smooth.ravel(), -count)[-count]
    for _ in range(8):  # half-way between the means of both sides
        ink = smooth > threshold
        if not ink.any() or ink.all():
            return None
        threshold = 0.5 * (darkness[ink].mean() + darkness[~ink].mean())
    if not ink.any() or ink.all():
        return None
    middle = np.median(darkness[~ink])
    noise = 1.5 * np.median(np.abs(darkness[~ink] - middle))
    stroke = np.percentile(darkness[ink], 75)
    if stroke - middle < max(FAINTEST, 4 * noise):
        return None
    floor = middle + min(2.5 * noise, 0.4 * (stroke - middle))
    return np.clip((darkness - floor) / (stroke - floor), 0, 1)
