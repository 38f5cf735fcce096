"""Strokes of a pen, as the page sends them: checked, drawn as ink, and cut into the digits that they show.

The page sends points rather than a picture: ink can then be drawn at one size whatever the size of the drawing,
with a pen as wide, for that size, as those of MNIST, and nothing need be told from paper.
"""

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from werkzeug.exceptions import BadRequest

from distlenet.errors import PictureError, SeveralDigits
from distlenet.pictures import Digit, digits_in_ink
from distlenet.pictures.box import BOX, THICK, THIN
from distlenet.pictures.digits import find_pieces
from distlenet.reader import Reader

LARGEST = 2**20  # bytes of a drawing
MOST_POINTS = 50_000
WIDEST = 0.5  # widest pen
BEYOND = 2.0  # how far a pen may leave the field
SMALLEST = 0.012  # a drawing smaller than this is a dot

INK = 64  # pixels along the longer side of the ink: three for each pixel that the network sees
STEP = 0.7  # pixels between the points that are inked
MOST_INKED = 4000  # points; a longer drawing gets wider steps
TOGETHER = 256  # points inked at a time: bounds the memory

WIDE = 1.2  # a drawing with at least this ratio of width to height may be several digits
SEVERAL = 128  # pixels along the longer side of the ink in which digits are separated


@dataclass(frozen=True)
class Drawing:
    """A drawing on a square field; the unit is the side of the field."""

    strokes: list[np.ndarray]  # each (points, 2): x to the right and y down, at least one point
    width: float  # width of the pen


def read_drawing(data: object) -> Drawing:
    """Return the drawing of ``{"strokes": [[x, y, x, y, ...], ...], "width": w}``.

    Raises BadRequest where it is anything else.
    """
    if not isinstance(data, dict) or set(data) != {"strokes", "width"} or not isinstance(data["strokes"], list):
        raise BadRequest("A drawing is an object with strokes, a list, and width, a number.")
    strokes = [_points(stroke) for stroke in data["strokes"]]
    if sum(map(len, strokes)) > MOST_POINTS:
        raise BadRequest(f"The drawing has more than {MOST_POINTS:,} points.")
    [width] = _numbers([data["width"]])
    if not 0 < width <= WIDEST:
        raise BadRequest(f"The pen's width is {width:g}, expected more than 0 and at most {WIDEST:g}.")
    return Drawing(strokes, float(width))


def _points(stroke: object) -> np.ndarray:
    if not isinstance(stroke, list) or not stroke or len(stroke) % 2:
        raise BadRequest("A stroke is a list of numbers: x and y of each of its points.")
    points = _numbers(stroke).reshape(-1, 2)
    if points.min() < -BEYOND or points.max() > 1 + BEYOND:
        raise BadRequest("A point of a stroke is far from the field, whose corners are 0, 0 and 1, 1.")
    return points


def _numbers(values: list) -> np.ndarray:
    try:
        numbers = np.array(values, np.float64) if {*map(type, values)} <= {int, float} else None
    except OverflowError:  # a whole number of hundreds of digits
        numbers = None
    if numbers is None or not np.isfinite(numbers).all():
        raise BadRequest("The drawing has a coordinate that is not a finite number.")
    return numbers


def ink_of(drawing: Drawing) -> np.ndarray:
    """Return the ink (rows, columns) float32, 0 to 1, of ``drawing``, INK pixels along its longer side.

    The pen is made as wide as those of MNIST. Raises PictureError where nothing, or only a dot, was drawn.
    """
    return inked(drawing, INK, THIN / BOX)[0]


def all_points(drawing: Drawing) -> np.ndarray:
    """Return the points (n, 2) of all strokes; raises PictureError if nothing or only a dot was drawn."""
    if not drawing.strokes:
        raise PictureError("nothing is drawn yet: draw in the field")
    points = np.concatenate(drawing.strokes)
    if np.ptp(points, axis=0).max() < SMALLEST:
        raise PictureError("there is only a dot: draw more of it")
    return points


def inked(drawing: Drawing, longest: int, thinnest: float = 0.0) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return ink whose longer side is ``longest``, drawn with a pen of ``thinnest`` of it or more, and its strokes in
    pixels.
    """
    points = all_points(drawing)
    corner, size = points.min(axis=0), np.ptp(points, axis=0)
    width = float(np.clip(drawing.width / (size.max() + drawing.width), thinnest, THICK / BOX)) * longest
    scale = (longest - width) / size.max()
    margin = 2 + width / 2
    columns, rows = (ceil(side) for side in size * scale + 2 * margin)
    strokes = [(stroke - corner) * scale + margin for stroke in drawing.strokes]
    return np.clip((width + 1) / 2 - _distances(_along(strokes), (rows, columns)), 0, 1), strokes


def _along(strokes: list[np.ndarray]) -> np.ndarray:
    """Return points (n, 2) at even steps along ``strokes``, their ends included; all in pixels."""
    travelled = [np.cumsum(np.hypot(*np.diff(stroke, axis=0, prepend=stroke[:1]).T)) for stroke in strokes]
    step = max(STEP, sum(length[-1] for length in travelled) / MOST_INKED)
    inked = []
    for stroke, length in zip(strokes, travelled, strict=True):
        at = np.linspace(0, length[-1], ceil(length[-1] / step) + 1)
        inked.append(np.stack([np.interp(at, length, axis) for axis in stroke.T], axis=1))
    return np.concatenate(inked)


def _distances(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return how far each pixel of ``shape`` is from the nearest of ``points`` (n, 2), in pixels, float32."""
    x, y = points.T.astype(np.float32)
    down = np.square(np.arange(shape[0], dtype=np.float32)[:, None] - y)  # (rows, n)
    across = np.square(np.arange(shape[1], dtype=np.float32)[:, None] - x)  # (columns, n)
    nearest = np.full(shape, np.inf, np.float32)
    for first in range(0, len(points), TOGETHER):
        some = slice(first, first + TOGETHER)
        np.minimum(nearest, (down[:, None, some] + across[None, :, some]).min(axis=-1), out=nearest)
    return np.sqrt(nearest)


def one_digit(drawing: Drawing, reader: Reader) -> Digit:
    """Return ``drawing`` as one digit, and how many it looks like.

    Raises PictureError where nothing, or only a dot, was drawn; SeveralDigits where it is too wide for one.
    """
    across, down = np.ptp(all_points(drawing), axis=0)
    count = len(parts_of(drawing)) if across > WIDE * down else 1
    try:
        [digit] = digits_in_ink(ink_of(drawing), reader.image_shape)
    except SeveralDigits as error:
        raise SeveralDigits(max(count, error.count)) from error
    return replace(digit, looks_like=max(count, digit.looks_like))


def each_digit(drawing: Drawing, reader: Reader) -> list[Digit]:
    """Return the digits of ``drawing`` in reading order; raises PictureError if it finds none."""
    digits, reason = [], PictureError("no digit was found in the drawing")
    for part in parts_of(drawing):
        try:
            digits += digits_in_ink(ink_of(part), reader.image_shape, likely=reader.probabilities)
        except PictureError as error:  # a dash among digits, for example
            reason = error
    if not digits:
        raise reason
    return digits


def parts_of(drawing: Drawing) -> list[Drawing]:
    """Return the strokes of each digit of ``drawing``, in reading order; digits that touch stay together.

    Raises PictureError where nothing, or only a dot, was drawn.
    """
    ink, places = inked(drawing, SEVERAL)
    pieces, found, _ = find_pieces(ink, many=True)
    nobody = len(pieces)
    owner = np.full(len(found.areas) + 1, nobody)  # by component; the last one, index -1, is the paper
    for number, piece in enumerate(pieces):
        owner[list(piece.members)] = number
    digits: list[list[np.ndarray]] = [[] for _ in range(nobody + 1)]
    for stroke, place in zip(drawing.strokes, places, strict=True):
        column, row = place.round().astype(int).T
        labels = found.labels[row.clip(0, len(ink) - 1), column.clip(0, ink.shape[1] - 1)]
        digits[np.bincount(owner[labels], minlength=nobody + 1).argmax()].append(stroke)
    del digits[nobody]  # specks
    return [Drawing(strokes, drawing.width) for strokes in digits if strokes]
