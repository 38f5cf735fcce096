"""Normalises one digit like those of MNIST: 20 x 20 pixels, with its centre of mass in the middle of 28 x 28.

The sizes below are for 28 x 28 pixels; for other shapes they scale with the side.
Source: the MNIST page of LeCun, Cortes and Burges: "size normalized to fit in a 20x20 pixel box while preserving
their aspect ratio [...] centered in a 28x28 image by computing the center of mass of the pixels". That MNIST's
digits then lie on whole pixels, and how wide their strokes are, was measured on its images.
"""

import numpy as np

from distlenet.pictures.filters import hat_weights

SIDE = 28
BOX = 19.9  # pixels between the two outer points where the ink of MNIST's digits crosses one half
THIN, THICK = 1.8, 3.9  # stroke widths of MNIST, in pixels: the 5th and the 95th percentile


def normalized(ink: np.ndarray, shape: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """Return uint8 ``shape``, 0 for paper to 255 for ink, of one digit's ``ink`` (rows, columns) in 0 to 1."""
    unit = min(shape) / SIDE
    (top, bottom), (left, right) = (extent(ink.max(axis=axis)) for axis in (1, 0))
    longest = max(bottom - top, right - left, 1e-3)
    width = stroke_width(ink) * BOX / longest
    if width < THIN:  # a wider filter, brightened again afterwards, gives a wider stroke
        blur = 1 + 0.55 * (THIN - width)
        grows = 0.8 * (blur - 1)
    else:  # of thick strokes the outer half of a soft edge is removed
        blur = 1 + 0.5 * max(0.0, min(width, 8.0) - THICK)
        grows = -0.6 * blur if width > THICK else 0.0
    scale = unit * max(BOX - grows, 1.0) / longest  # our pixels for each pixel of ink
    total = ink.sum()
    sides = []
    for axis, low, high, size in ((1, top, bottom, shape[0]), (0, left, right, shape[1])):
        mass = float(ink.sum(axis=axis) @ np.arange(ink.shape[1 - axis]) / total)
        margin = 0.45 - 0.5 * grows * unit  # MNIST's boxes start on whole pixels
        first = np.rint(size / 2 - (mass - low) * scale + margin)
        first = np.clip(first, 1, max(1, size - 1 - np.ceil((high - low) * scale)))
        positions = low + (np.arange(size) - (first - margin)) / scale
        sides.append(hat_weights(positions, ink.shape[1 - axis], blur * unit / scale))
    rows, columns = sides
    return _as_bright(rows @ ink.astype(np.float32) @ columns.T, thick=width > THICK)


def extent(profile: np.ndarray) -> tuple[float, float]:
    """Return the positions where ``profile`` (n,) first and last crosses one half, in fractions of a pixel.

    Outside the array it is 0; a profile that never reaches one half is scaled up first.
    """
    profile = np.pad(profile / max(min(2 * profile.max(), 1.0), 1e-9), 1)
    above = np.flatnonzero(profile >= 0.5)
    first, last = above[0], above[-1]
    low = first - (profile[first] - 0.5) / (profile[first] - profile[first - 1])
    high = last + (profile[last] - 0.5) / (profile[last] - profile[last + 1])
    return low - 1, high - 1


def stroke_width(ink: np.ndarray) -> float:
    """Return the mean width of the strokes in pixels: twice their area divided by the length of their outline.

    That length is computed as the total variation, which is the same for sharp and soft edges.
    """
    framed = np.pad(ink, 1)
    down, right = np.diff(framed, axis=0), np.diff(framed, axis=1)
    down, right = (down[:, 1:] + down[:, :-1]) / 2, (right[1:] + right[:-1]) / 2
    return float(2 * ink.sum() / np.hypot(down, right).sum())


def _as_bright(image: np.ndarray, thick: bool) -> np.ndarray:
    """Return ``image`` as uint8, with the middle of its strokes as bright as in MNIST."""
    if thick:
        image = np.maximum(2 * image - 1, 0)
    bright = image[image > 0.05 * image.max()]
    if bright.size:
        bright = image[image > 0.5 * np.percentile(bright, 90)]
        image = image * (0.99 / np.percentile(bright, 75))
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
