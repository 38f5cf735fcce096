"""From a picture to its digits: a first look at the whole picture, and a closer look if the digit is small."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from distlenet.errors import PictureError, SeveralDigits
from distlenet.pictures.box import SIDE, normalized
from distlenet.pictures.digits import CUT, Components, Piece, cut_out, find_pieces
from distlenet.pictures.edge import apart, at_edge
from distlenet.pictures.filters import reduced
from distlenet.pictures.lines import without_lines
from distlenet.pictures.paper import Sheet, sheet_of
from distlenet.pictures.reading import WORKING, Picture, contrasting_grey
from distlenet.pictures.touching import separated

EDGE = 0.8  # weight of a reading with ink at the picture's edge
INSIDE = 0.999  # weight of one without it
SINGLE = 0.998  # weight of one without a single line
LEAST_INSIDE = 0.12  # least size of a digit inside, as a share of the longer side
CLOSER = 0.35  # a digit smaller than this share of the picture gets a closer look
BLOCK = 16  # side in pixels of the blocks searched for a digit that the first look missed
LEAST = 12  # least size of such a digit in pixels; anything smaller is dust

Box = tuple[int, int, int, int]  # left, top, right, bottom
Likely = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Digit:
    """One digit of a picture."""

    image: np.ndarray  # (rows, columns) uint8, normalised for the network
    box: Box  # in pixels of the upright picture
    looks_like: int = 1  # number of digits: above 1 if one was requested and several in a row were taken for one


def digits_in(
    picture: Picture, shape: tuple[int, int] = (SIDE, SIDE), *, many: bool = False, likely: Likely | None = None
) -> list[Digit]:
    """Return the digits of ``picture`` in reading order, normalised to ``shape``; only one unless ``many``.

    ``likely`` is a function from a normalised digit to its class probabilities. If it is given, it chooses among
    several readings of the picture, and with ``many`` separates touching digits.
    Raises PictureError if the picture is blank or shows no digit.
    """
    fine = picture.fine
    if many or fine is None:
        return _look(picture, shape, many, likely)
    digits: list[Digit] = []
    try:
        digits = _look(picture, shape, likely=likely)
        box = digits[0].box
        if _longest(box) > CLOSER * picture.scale * max(picture.colours.shape):
            return digits
    except SeveralDigits:
        raise
    except PictureError:
        small_mark = _small_mark(picture, fine)
        if small_mark is None:
            raise
        box = small_mark
    try:
        closer = _look_closer(picture, fine, box, shape, likely)
        if digits and digits[0].looks_like > 1:  # its neighbours may lie outside the closer look
            return [replace(closer[0], looks_like=digits[0].looks_like)]
        return closer
    except PictureError:
        if not digits:
            raise
        return digits


def digits_in_ink(
    ink: np.ndarray, shape: tuple[int, int] = (SIDE, SIDE), *, likely: Likely | None = None
) -> list[Digit]:
    """Return a list with the one digit of ``ink`` (rows, columns) float32, 0 for paper to 1; its box is in pixels.

    If ``likely`` is given, touching digits are separated. Raises PictureError if the ink is only specks.
    """
    [piece], found, looks_like = find_pieces(ink, many=False)
    return _digits(ink, piece, found, 1.0, shape, likely, looks_like)


def _look(picture: Picture, shape: tuple[int, int], many: bool = False, likely: Likely | None = None) -> list[Digit]:
    """Return the digits of the best reading; ``many`` takes the plain one."""
    grey = contrasting_grey(picture.colours)
    sheet = sheet_of(grey)
    if many:
        return _read(sheet, without_lines(sheet.ink), picture.scale, shape, many, likely)
    best, most = None, -1.0
    reason: PictureError | None = None  # of the plain reading
    for prior, reading, ink in _readings(grey, sheet):
        try:
            digits = _read(reading, ink, picture.scale, shape)
        except PictureError as error:
            reason = reason or error
            continue
        if prior == INSIDE and _longest(digits[0].box) < LEAST_INSIDE * picture.scale * max(grey.shape):
            continue
        sure = prior * float(likely(digits[0].image).max() if likely else 1)
        if sure > most:
            best, most = digits, sure
    if best is None:
        raise reason or PictureError("no digit was found in the picture: it shows only specks")
    return best


def _readings(grey: np.ndarray, sheet: Sheet) -> Iterable[tuple[float, Sheet, np.ndarray]]:
    """Yield the readings of a picture, each with its weight: all ink, no single line, nothing at the edge."""
    plain, bare = without_lines(sheet.ink), without_lines(sheet.ink, single=True)
    outside = at_edge(bare)
    yield (1.0 if outside is None else EDGE), sheet, plain
    if not np.array_equal(bare, plain):
        yield SINGLE if outside is None else EDGE, sheet, bare
    if outside is not None:
        with suppress(PictureError):
            inner = sheet_of(sheet.covered(grey, outside))
            yield INSIDE, inner, apart(without_lines(inner.ink, single=True), outside)


def _read(
    sheet: Sheet,
    ink: np.ndarray,
    scale: float,
    shape: tuple[int, int],
    many: bool = False,
    likely: Likely | None = None,
) -> list[Digit]:
    pieces, found, looks_like = find_pieces(ink, many)
    pieces = [piece for piece in pieces if sheet.is_real(np.where(np.isin(found.labels, piece.members), ink, 0))]
    if not pieces:
        raise PictureError("no digit was found in the picture: its marks have no sharp edges")
    return [digit for piece in pieces for digit in _digits(ink, piece, found, scale, shape, likely, looks_like)]


def _digits(
    ink: np.ndarray,
    piece: Piece,
    found: Components,
    scale: float,
    shape: tuple[int, int],
    likely: Likely | None,
    looks_like: int,
) -> list[Digit]:
    """Return the digits in ``piece``: one, or several touching ones if ``likely`` is given."""
    own, top, left = cut_out(ink, piece, found)
    digits = []
    for part in separated(own, shape, likely) if likely else [own]:
        rows, columns = (np.flatnonzero((part > CUT).any(axis=axis)) for axis in (1, 0))
        box = (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
        digits.append(Digit(normalized(part, shape), _rounded(box, scale), looks_like))
    return digits


def _look_closer(
    picture: Picture, fine: np.ndarray, box: Box, shape: tuple[int, int], likely: Likely | None
) -> list[Digit]:
    """Return the one digit in and around ``box`` of ``picture``."""
    scale = picture.scale * max(picture.colours.shape) / max(fine.shape)
    margin = round(0.8 * _longest(box) / scale) + 8
    left, top, right, bottom = (round(edge / scale) for edge in box)
    left, top = max(0, left - margin), max(0, top - margin)
    part = fine[top : bottom + margin, left : right + margin]
    shrink = max(1, round(max(part.shape) / WORKING))
    colours = reduced(part, shrink) / np.float32(255)
    [digit] = _look(Picture(colours, shrink * scale), shape, likely=likely)
    if _longest(digit.box) < LEAST * scale:
        raise PictureError("no digit was found in the picture: it shows only specks")
    right, down = round(left * scale), round(top * scale)
    moved = np.add(digit.box, (right, down, right, down))
    return [replace(digit, box=_rounded(moved))]


def _small_mark(picture: Picture, fine: np.ndarray) -> Box | None:
    """Return the box of a single small part of ``picture`` with far more contrast than the rest, or None."""
    rows, columns = (size // BLOCK for size in fine.shape[:2])
    if min(rows, columns) == 0:
        return None
    blocks = fine[: rows * BLOCK, : columns * BLOCK].max(axis=2).reshape(rows, BLOCK, columns, BLOCK)
    contrast = np.asarray(blocks.max(axis=(1, 3)), int) - blocks.min(axis=(1, 3))
    if contrast.max() <= 4 * np.median(contrast):
        return None
    row, column = np.nonzero(contrast > 0.5 * contrast.max())
    if max(np.ptp(row), np.ptp(column)) > 0.25 * max(rows, columns):
        return None
    block = BLOCK * picture.scale * max(picture.colours.shape) / max(fine.shape)
    edges = (column.min(), row.min(), column.max() + 1, row.max() + 1)
    return _rounded(edges, block)


def _rounded(edges: Iterable[float], scale: float = 1.0) -> Box:
    left, top, right, bottom = (round(float(edge * scale)) for edge in edges)
    return left, top, right, bottom


def _longest(box: Box) -> int:
    left, top, right, bottom = box
    return max(right - left, bottom - top)
