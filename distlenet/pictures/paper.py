"""Taking the paper away: uneven light and shadows, dark on light or light on dark, noise.

Ink is narrow and has sharp edges on all sides; light changes slowly, or is wide. A morphological closing fills
what is narrower than its window and keeps the edges of shadows: what it gives is the paper. How wide strokes
are, and whether they are dark or light, is not known: each way is tried at a small size, and the one that
explains most of the picture's edges wins.
"""

from dataclasses import dataclass

import numpy as np

from distlenet.errors import PictureError
from distlenet.pictures.filters import closing, max_filter, mean_filter, part, resized, shrunk

SMALL = 112  # pixels along the longer side at which the paper is estimated
FINE = 64  # pixels along the shorter side from which on a stroke is some pixels wide
COARSE = 28  # the same for slow changes of light
WINDOWS = (0.1, 0.2, 0.4)  # of the closing, as shares of the longer side: strokes are narrower than one of them
DARKEST = 0.2  # paper darker than this is measured as if it were this bright: else its noise would be ink
UNEVEN = 0.05  # spread of the paper about a smooth surface from which on the light is not smooth
NEARLY_ALL = 0.9  # share of the picture's edges that, once explained, no other way need be tried
MOST = 0.7  # largest share of the picture that ink covers

# What is ink, measured at the small size on digits in 40 conditions and on blank sheets under uneven light:
FAINTEST = 0.06  # darkness, as a share of the paper's brightness; a pen of 1 pixel in 700 has 0.09
STRONG = 1.0  # energy of its edges: 3.0 or more in deep shadows and when blurred; light that changes: mostly below 0.5
REAL = 0.7  # share of its outline where the picture has an edge as well: 0.85 in deep shadows; 0.5 for a shadow's rim
FAINT_REAL = 0.9  # the same for ink that is not strong: 0.98; shadows up to 0.82
FAINT_SLOPE = 0.24  # mean slope of its edges per pixel: 0.25 or more; light: mostly below 0.2


@dataclass(frozen=True)
class Sheet:
    """A picture taken apart."""

    ink: np.ndarray  # (rows, columns) float32, 0 to 1
    grey: np.ndarray  # the picture at the small size, ink darker than paper
    paper: np.ndarray  # the brightness of the paper at the small size

    def is_real(self, ink: np.ndarray) -> bool:
        """Return whether ``ink`` (rows, columns), a part of the sheet's, has edges as strokes have."""
        strength, real, slope = _edges(resized(ink, self.grey.shape), self.grey, self.paper)
        return real >= REAL if strength >= STRONG else real >= FAINT_REAL and slope >= FAINT_SLOPE


def sheet_of(grey: np.ndarray) -> Sheet:
    """Tell ink from paper in a ``grey`` picture (rows, columns) in 0 to 1.

    Raises PictureError where nothing stands out from the paper.
    """
    small = resized(grey, shrunk(grey.shape, SMALL))
    best = _best_paper(small)
    ink = None
    if best is not None:
        light_ink, picture, paper = best
        ink = _ink(1 - (1 - grey if light_ink else grey) / resized(paper, grey.shape))
    if ink is None:
        raise PictureError("the picture is blank: nothing stands out from the paper")
    if (ink > 0.5).mean() > MOST:
        raise PictureError("no digit can be told from the paper: too much of the picture is as dark as ink")
    return Sheet(_evened(ink) if light_ink else ink, picture, paper)


def _best_paper(small: np.ndarray) -> tuple[bool, np.ndarray, np.ndarray] | None:
    """Return whether the ink is light, ``small`` (rows, columns) with ink darker than paper, and its paper."""
    energy = sum(float(np.vdot(step, step)) for step in (np.diff(small, axis=0), np.diff(small, axis=1)))
    best, most = None, 0.0
    for light_ink in (False, True):
        picture = 1 - small if light_ink else small
        light = np.maximum(_slow_light(picture), 0.05)
        for window in WINDOWS:
            paper = np.maximum(light * closing(picture / light, int(window * max(small.shape)) | 1), DARKEST)
            ink = _ink(1 - picture / paper)
            if ink is None:
                continue
            explained, real, _ = _edges(ink, picture, paper)
            if explained * real**2 > most:
                best, most = (light_ink, picture, paper), explained * real**2
            if most > NEARLY_ALL * energy:
                return best
    return best


def _evened(ink: np.ndarray) -> np.ndarray:
    """Return light ``ink`` with strokes as bright everywhere: a shadow takes as much from it as from its paper.

    In a picture of few pixels grey is how much of a pixel is ink: it stays.
    """
    if min(ink.shape) <= FINE:
        return ink
    small = resized(ink, shrunk(ink.shape, SMALL))
    window = 2 * round(0.04 * max(small.shape)) + 1
    level = mean_filter(max_filter(small, (window, window)), window)
    return np.minimum(ink / resized(np.maximum(level / level.max(), 0.4), ink.shape), 1)


def _edges(ink: np.ndarray, grey: np.ndarray, paper: np.ndarray) -> tuple[float, float, float]:
    """Return how much of the edges of ``grey`` the ``ink`` explains, and the share of its outline that is real,
    and the mean slope of its edges per pixel; zeros if the ink is too faint. All arrays are (rows, columns).

    The outline is real where the picture changes close by, by half of what the ink changes there; along the
    border of the picture it is not.
    """
    close = (2 * max(1, round(0.025 * max(ink.shape))) + 1,) * 2
    change = (max_filter(grey, close) + max_filter(-grey, close)) / paper
    expected = max_filter(ink, close) + max_filter(-ink, close)
    own = total = common = explained = 0.0
    steps = [np.diff(ink, axis=axis) for axis in (0, 1)]
    for axis, step in enumerate(steps):
        own += float(np.vdot(step, step))
        total += float(np.abs(step).sum())
        theirs = np.diff(grey, axis=axis)
        explained -= float(np.vdot(step, theirs))
        common -= float(np.vdot(step, theirs / part(paper, axis, 0, step.shape[axis])))
    darkness = common / max(own, 1e-9)
    if darkness < FAINTEST:
        return 0.0, 0.0, 0.0
    agree = change > 0.5 * darkness * expected
    real = sum(float(np.abs(step)[part(agree, axis, 0, step.shape[axis])].sum()) for axis, step in enumerate(steps))
    total += sum(float(side.sum()) for side in (ink[0], ink[-1], ink[:, 0], ink[:, -1]))
    return explained**2 / own, real / total, own / total / float(ink.max())


def _slow_light(picture: np.ndarray) -> np.ndarray:
    """Return the quadratic surface through the paper: pixels well below it (ink) are left out, in rounds.

    Across the edge of a shadow it would swing to and fro: light that it does not fit is left to the closing.
    """
    coarse, spread = resized(picture, shrunk(picture.shape, COARSE)), 0.0
    values, terms = coarse.ravel().astype(np.float64), _quadratic(coarse.shape)
    kept = values >= np.median(values) - 0.02
    for _ in range(6):
        weights, *_ = np.linalg.lstsq(terms[kept], values[kept], rcond=None)
        left = values - terms @ weights
        spread = 1.5 * np.median(np.abs(left[kept]))
        again = left > -2.5 * (spread + 0.01)
        if again.sum() < 0.3 * len(values) or (again == kept).all():
            break
        kept = again
    if spread > UNEVEN:
        return np.ones_like(picture)
    low, high = np.percentile(coarse, [1, 100])
    return np.clip(_quadratic(picture.shape) @ weights, low, high).reshape(picture.shape)


def _quadratic(shape: tuple[int, int]) -> np.ndarray:
    """Return (rows * columns, 6): the terms of a quadratic function of the place."""
    y, x = (((np.arange(size) + 0.5) * 2 / size - 1) for size in shape)
    y, x = (part.ravel() for part in np.meshgrid(y, x, indexing="ij"))
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _ink(darkness: np.ndarray) -> np.ndarray | None:
    """Return ``darkness`` as ink, 0 for the paper with its noise to 1 for a stroke; None if there is none."""
    if darkness.max() < FAINTEST:
        return None
    smooth = mean_filter(darkness, 3) if min(darkness.shape) > FINE else darkness
    count = max(4, round(0.002 * smooth.size))
    threshold, total = 0.5 * np.partition(smooth.ravel(), -count)[-count], float(darkness.sum())
    for _ in range(8):  # half-way between the means of both sides
        ink = smooth > threshold
        strokes = darkness[ink]
        if strokes.size in (0, darkness.size):
            return None
        rest = (total - float(strokes.sum())) / (darkness.size - strokes.size)
        before, threshold = threshold, 0.5 * (float(strokes.mean()) + rest)
        if abs(threshold - before) < 0.002:
            break
    paper = darkness[~ink]
    paper = paper[:: max(1, paper.size // 4096)]  # for its median and noise some are enough
    middle = np.median(paper)
    noise = 1.5 * np.median(np.abs(paper - middle))
    stroke = np.partition(strokes, 3 * strokes.size // 4)[3 * strokes.size // 4]
    if stroke - middle < max(FAINTEST, 4 * noise):
        return None
    floor = middle + min(2.5 * noise, 0.4 * (stroke - middle))
    return np.clip((darkness - floor) / (stroke - floor), 0, 1)
