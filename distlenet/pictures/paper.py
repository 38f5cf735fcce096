"""Separates ink from paper under uneven light, shadows and noise, for dark or light ink.

Ink is narrow and has sharp edges on all sides; light changes slowly, or over wide areas. A morphological closing fills
details narrower than its window and keeps the edges of shadows: its result is the paper. Since the width of the strokes
and whether they are dark or light are unknown, each combination is tried at a small size, and the one that explains
most of the picture's edges wins.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from distlenet.errors import PictureError
from distlenet.pictures.filters import closing, max_filter, mean_filter, part, resized, shrunk

SMALL = 112  # pixels along the longer side at which the paper is estimated
FINE = 64  # in pictures whose shorter side exceeds this many pixels, strokes are several pixels wide
COARSE = 28  # pixels along the longer side at which slow changes of light are estimated
WINDOWS = (0.1, 0.2, 0.4)  # of the closing, as shares of the longer side: strokes are narrower than one of them
DARKEST = 0.2  # darker paper is treated as this bright: otherwise its noise would count as ink
UNEVEN = 0.05  # if the paper deviates more than this from a smooth surface, the light is not smooth
NEARLY_ALL = 0.9  # share of the picture's edges that, once explained, ends the search
MOST = 0.7  # largest share of the picture that ink covers

# Thresholds for ink, measured at the small size on digits in 40 conditions and on blank sheets under uneven light:
FAINTEST = 0.06  # darkness, as a share of the paper's brightness; a pen of 1 pixel in 700 has 0.09
STRONG = 1.0  # energy of its edges: ink has at least 3.0, even blurred or in deep shadow; light mostly below 0.5
REAL = 0.7  # share of its outline where the picture has an edge too: 0.85 in deep shadow, 0.5 for a shadow's rim
FAINT_REAL = 0.9  # the same for ink that is not strong: ink has 0.98, shadows up to 0.82
FAINT_SLOPE = 0.24  # mean slope of its edges per pixel: ink has at least 0.25, light mostly below 0.2


@dataclass(frozen=True)
class Sheet:
    """A picture separated into ink and paper."""

    ink: np.ndarray  # (rows, columns) float32, 0 to 1
    grey: np.ndarray  # the picture at the small size, ink darker than paper
    paper: np.ndarray  # the brightness of the paper at the small size

    light_ink: bool = False

    def covered(self, grey: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the picture ``grey`` with paper where ``mask`` is True; both are (rows, columns)."""
        paper = resized(self.paper, grey.shape)
        return np.where(mask, 1 - paper if self.light_ink else paper, grey).astype(np.float32)

    def is_real(self, ink: np.ndarray, border: float = 1.0) -> bool:
        """Return whether ``ink`` (rows, columns), a part of the sheet's ink, has edges like a stroke's.

        Ink along the picture's border is outline without an edge; it counts with the weight ``border``.
        """
        strength, real, slope = _edges(resized(ink, self.grey.shape), self.grey, self.paper, border)
        return real >= REAL if strength >= STRONG else real >= FAINT_REAL and slope >= FAINT_SLOPE


def sheets_of(grey: np.ndarray) -> Iterator[Sheet]:
    """Separate ink from paper in a ``grey`` picture (rows, columns) of 0 to 1.

    Yields the likelier sheet first, of dark or of light ink, then the other. Raises PictureError if nothing stands out
    from the paper.
    """
    small = resized(grey, shrunk(grey.shape, SMALL))
    reason = "the picture is blank: nothing stands out from the paper"
    count = 0
    for light_ink, picture, paper in _papers(small):
        darkness = 1 - (1 - grey if light_ink else grey) / resized(paper, grey.shape)
        ink = _ink(darkness)
        if ink is None:  # the ink may be as faint as the noise
            ink = _ink(mean_filter(darkness, 5))
        if ink is None:
            continue
        if (ink > 0.5).mean() > MOST:
            reason = "no digit can be separated from the paper: too much of the picture is as dark as ink"
            continue
        count += 1
        yield Sheet(_evened(ink) if light_ink else ink, picture, paper, light_ink)
    if not count:
        raise PictureError(reason)


def _papers(small: np.ndarray) -> list[tuple[bool, np.ndarray, np.ndarray]]:
    """Return, likelier first, whether the ink is light, ``small`` (rows, columns) with dark ink, and its paper."""
    energy = sum(float(np.vdot(step, step)) for step in (np.diff(small, axis=0), np.diff(small, axis=1)))
    found = []
    for light_ink in (False, True):
        picture = 1 - small if light_ink else small
        light = np.maximum(_slow_light(picture), 0.05)
        for window in WINDOWS:
            paper = np.maximum(light * closing(picture / light, int(window * max(small.shape)) | 1), DARKEST)
            ink = _ink(1 - picture / paper)
            if ink is not None:
                explained, real, _ = _edges(ink, picture, paper)
                found.append((explained * real**2, light_ink, picture, paper))
                if found[-1][0] > NEARLY_ALL * energy:
                    return [found[-1][1:]]
    found.sort(key=lambda paper: -paper[0])
    of_kind = {paper[1]: paper[1:] for paper in reversed(found) if paper[0] > 0}
    return [of_kind[light] for light in dict.fromkeys(paper[1] for paper in found if paper[0] > 0)]


def _evened(ink: np.ndarray) -> np.ndarray:
    """Return light ``ink`` with equally bright strokes everywhere: a shadow darkens it as much as its paper.

    A picture of few pixels is returned unchanged: there a grey pixel is one partly covered by ink.
    """
    if min(ink.shape) <= FINE:
        return ink
    small = resized(ink, shrunk(ink.shape, SMALL))
    window = 2 * round(0.04 * max(small.shape)) + 1
    level = mean_filter(max_filter(small, (window, window)), window)
    return np.minimum(ink / resized(np.maximum(level / level.max(), 0.4), ink.shape), 1)


def _edges(ink: np.ndarray, grey: np.ndarray, paper: np.ndarray, border: float = 1.0) -> tuple[float, float, float]:
    """Return how much of the edges of ``grey`` the ``ink`` explains, the share of the ink's outline that is real, and
    the mean slope of its edges per pixel; zeros if the ink is too faint. All arrays are (rows, columns).

    The outline is real where the picture nearby changes at least half as much as the ink; along the picture's border
    it never is.
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
    total += border * sum(float(side.sum()) for side in (ink[0], ink[-1], ink[:, 0], ink[:, -1]))
    return explained**2 / own, real / total, own / total / float(ink.max())


def _slow_light(picture: np.ndarray) -> np.ndarray:
    """Return a quadratic surface fitted to the paper; pixels well below it (ink) are excluded in rounds.

    At the edge of a shadow it would oscillate, so ones are returned if it fits badly: the closing handles such light.
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
    """Return (rows * columns, 6): the terms of a quadratic function of the position."""
    y, x = (((np.arange(size) + 0.5) * 2 / size - 1) for size in shape)
    y, x = (part.ravel() for part in np.meshgrid(y, x, indexing="ij"))
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _ink(darkness: np.ndarray) -> np.ndarray | None:
    """Return ``darkness`` as ink, from 0 for paper and its noise to 1 for a stroke; None if there is no ink."""
    if darkness.max() < FAINTEST:
        return None
    smooth = mean_filter(darkness, 3) if min(darkness.shape) > FINE else darkness
    count = max(4, round(0.002 * smooth.size))
    threshold, total = 0.5 * np.partition(smooth.ravel(), -count)[-count], float(darkness.sum())
    for _ in range(8):  # the threshold goes halfway between the means of both sides
        ink = smooth > threshold
        strokes = darkness[ink]
        if strokes.size in (0, darkness.size):
            return None
        rest = (total - float(strokes.sum())) / (darkness.size - strokes.size)
        before, threshold = threshold, 0.5 * (float(strokes.mean()) + rest)
        if abs(threshold - before) < 0.002:
            break
    paper = darkness[~ink]
    paper = paper[:: max(1, paper.size // 4096)]  # a sample is enough for its median and noise
    middle = np.median(paper)
    noise = 1.5 * np.median(np.abs(paper - middle))
    stroke = np.partition(strokes, 3 * strokes.size // 4)[3 * strokes.size // 4]
    if stroke - middle < max(FAINTEST, 4 * noise):
        return None
    floor = middle + min(2.5 * noise, 0.4 * (stroke - middle))
    return np.clip((darkness - floor) / (stroke - floor), 0, 1)
