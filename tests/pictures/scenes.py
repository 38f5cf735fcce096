"""Pictures of known digits under the conditions of real life, each drawn from a seed."""

import itertools
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from distlenet.data.handwriting import write_digits

Rng = np.random.Generator


def enlarged(digit: np.ndarray, factor: float) -> np.ndarray:
    """Return the coverage by ink, float 0 to 1, of a 28x28 ``digit`` scaled up, cut to its ink."""
    rows, columns = np.nonzero(digit > 25)
    digit = digit[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    size = tuple(max(2, round(side * factor)) for side in digit.shape[::-1])
    return np.asarray(Image.fromarray(digit).resize(size, Image.Resampling.BICUBIC), float) / 255


def penned(label: int, height: int, width: float, rng: Rng) -> np.ndarray:
    """Return the coverage by ink of a digit written with a pen of ``width`` pixels, ``height`` pixels high."""
    points, joined = write_digits(np.array([label], np.uint8), rng)
    points, joined = points[0], joined[0]
    points = (points - points.min(axis=0)) * (height - width) / np.ptp(points[:, 1])
    finer = 4
    size = np.ceil(points.max(axis=0) + width + 2).astype(int)
    image = Image.new("L", tuple(int(side) * finer for side in size))
    pen = ImageDraw.Draw(image)
    places = [tuple((point + width / 2 + 1) * finer) for point in points]
    radius = width * finer / 2
    for (start, end), down in zip(itertools.pairwise(places), joined, strict=True):
        if down:
            pen.line([start, end], fill=255, width=max(1, round(width * finer)))
    for number, (x, y) in enumerate(places):
        if joined[min(number, len(joined) - 1)] or joined[max(0, number - 1)]:
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    return np.asarray(image.resize(tuple(map(int, size)), Image.Resampling.BOX), float) / 255


def placed(cover: np.ndarray, rng: Rng, room: float = 0.7) -> np.ndarray:
    """Return ``cover`` at a random place on paper with ``room`` more pixels along each side."""
    side = max(cover.shape)
    shape = [part + round(side * room * (0.6 + 0.8 * rng.random())) + 2 for part in cover.shape]
    paper = np.zeros(shape)
    top, left = (int(rng.integers(1, whole - part)) for whole, part in zip(shape, cover.shape, strict=True))
    paper[top : top + cover.shape[0], left : left + cover.shape[1]] = cover
    return paper


def painted(cover: np.ndarray, ink: tuple[int, ...] = (30,) * 3, paper: tuple[int, ...] = (245,) * 3) -> np.ndarray:
    """Return colours (rows, columns, 3), 0 to 255."""
    return cover[..., None] * np.array(ink, float) + (1 - cover[..., None]) * np.array(paper, float)


def ramp(shape: tuple[int, ...], rng: Rng) -> np.ndarray:
    """Return a plane of slopes in a random direction, 0 to 1."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape[:2]), indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    plane = np.cos(angle) * x + np.sin(angle) * y
    return (plane - plane.min()) / np.ptp(plane)


def lit(colours: np.ndarray, rng: Rng) -> np.ndarray:
    return colours * (0.3 + 0.7 * ramp(colours.shape, rng))[..., None]


def shadowed(colours: np.ndarray, rng: Rng) -> np.ndarray:
    """A shadow with a soft edge over part of the picture, and a lamp."""
    edge = 1 / (1 + np.exp(-40 * (ramp(colours.shape, rng) - rng.uniform(0.3, 0.7))))
    return colours * (0.5 + 0.5 * edge)[..., None] * (0.75 + 0.25 * ramp(colours.shape, rng))[..., None]


def noisy(colours: np.ndarray, rng: Rng, sigma: float = 20) -> np.ndarray:
    return colours + sigma * rng.standard_normal(colours.shape)


def ruled(colours: np.ndarray, rng: Rng, squared: bool = False, tilt: float = 0.015) -> np.ndarray:
    """Thin blue lines, slightly askew."""
    rows, columns = colours.shape[:2]
    image = Image.fromarray(np.uint8(colours.clip(0, 255)))
    pen = ImageDraw.Draw(image)
    width, step = max(1, round(0.006 * min(rows, columns))), 0.19 * min(rows, columns)
    lean = rng.uniform(-tilt, tilt) * columns
    for y in np.arange(rng.uniform(0, step), rows, step):
        pen.line([(0, y), (columns, y + lean)], fill=(90, 120, 190), width=width)
    if squared:
        for x in np.arange(rng.uniform(0, step), columns, step):
            pen.line([(x, 0), (x - lean, rows)], fill=(90, 120, 190), width=width)
    under = np.asarray(image, float)
    return np.minimum(under, colours)  # ink lies over the lines


def picture(colours: np.ndarray) -> Image.Image:
    return Image.fromarray(np.uint8(colours.clip(0, 255)))


def transparent(cover: np.ndarray, ink: int) -> Image.Image:
    pixels = np.full((*cover.shape, 4), ink, np.uint8)
    pixels[..., 3] = np.rint(255 * cover)
    return Image.fromarray(pixels)


def touching(cover: np.ndarray, rng: Rng) -> np.ndarray:
    """The paper is cut off where the ink ends, on one side or on all."""
    paper = placed(cover, rng)
    rows, columns = (np.flatnonzero(paper.max(axis=axis) > 0.5) for axis in (1, 0))
    sides = rng.random(4) < 0.6
    return paper[
        rows[0] if sides[0] else 0 : rows[-1] + 1 if sides[1] else None,
        columns[0] if sides[2] else 0 : columns[-1] + 1 if sides[3] else None,
    ]


def _mnist(change: Callable[[np.ndarray, Rng], Image.Image]) -> Callable[[np.ndarray, int, Rng], Image.Image]:
    def draw(digit: np.ndarray, label: int, rng: Rng) -> Image.Image:
        return change(placed(enlarged(digit, rng.uniform(3, 20)), rng), rng)

    return draw


def _pen(low: float, high: float) -> Callable[[np.ndarray, int, Rng], Image.Image]:
    """A pen of ``low`` to ``high`` hundredths of the digit's height."""

    def draw(digit: np.ndarray, label: int, rng: Rng) -> Image.Image:
        height = int(rng.integers(80, 500))
        return picture(
            painted(placed(penned(label, height, max(1.0, rng.uniform(low, high) * height / 100), rng), rng))
        )

    return draw


INKS = [((200, 30, 40), (240,) * 3), ((20, 60, 190), (250, 250, 235)), ((240, 220, 30), (250,) * 3)]
INKS += [((20, 130, 60), (235, 225, 200)), ((250, 250, 250), (30, 90, 60)), ((220, 60, 40), (60, 130, 70))]

# condition -> function of a 28x28 digit, its label and a generator; "pen" ones write a digit of that label anew
SCENES: dict[str, Callable[[np.ndarray, int, Rng], Image.Image]] = {
    "as it is, 28 x 28": lambda digit, label, rng: Image.fromarray(digit),
    "dark on light": _mnist(lambda cover, rng: picture(painted(cover))),
    "light on dark": _mnist(lambda cover, rng: picture(painted(cover, (250,) * 3, (20,) * 3))),
    "faint ink": _mnist(lambda cover, rng: picture(noisy(painted(cover, (185,) * 3, (225,) * 3), rng, 3))),
    "small, 20 to 60 pixels": lambda digit, label, rng: picture(
        painted(placed(enlarged(digit, rng.uniform(1, 3)), rng))
    ),
    "gradient of light": _mnist(lambda cover, rng: picture(lit(painted(cover), rng))),
    "shadow": _mnist(lambda cover, rng: picture(noisy(shadowed(painted(cover), rng), rng, 3))),
    "shadow, light on dark": _mnist(
        lambda cover, rng: picture(noisy(shadowed(painted(cover, (240,) * 3, (50,) * 3), rng), rng, 3))
    ),
    "noise": _mnist(lambda cover, rng: picture(noisy(painted(cover), rng, 30))),
    "coloured ink": _mnist(lambda cover, rng: picture(painted(cover, *INKS[rng.integers(len(INKS))]))),
    "transparent, black": _mnist(lambda cover, rng: transparent(cover, 0)),
    "transparent, white": _mnist(lambda cover, rng: transparent(cover, 255)),
    "ruled paper": _mnist(lambda cover, rng: picture(ruled(painted(cover), rng))),
    "squared paper": _mnist(lambda cover, rng: picture(ruled(painted(cover), rng, squared=True))),
    "touching the border": lambda digit, label, rng: picture(
        painted(touching(enlarged(digit, rng.uniform(3, 20)), rng))
    ),
    "photo: all at once": _mnist(
        lambda cover, rng: picture(
            noisy(shadowed(ruled(painted(cover, (40, 50, 110), (240, 236, 220)), rng), rng), rng, 8)
        )
    ),
    "hairline pen": _pen(0.6, 2),
    "thin pen": _pen(2, 5),
    "usual pen": _pen(7, 15),
    "thick pen": _pen(18, 28),
}
