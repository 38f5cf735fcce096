"""From a picture to its digits: a first look at the whole picture, and a closer look if the digit is small.

A look makes several readings: dark or light ink; with or without what lies at the edge. The network's probability
chooses among them.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from distlenet.errors import PictureError, SeveralDigits
from distlenet.pictures.box import SIDE, normalized
from distlenet.pictures.digits import CUT, cut_out, find_pieces
from distlenet.pictures.edge import apart, at_edge, without_frames
from distlenet.pictures.lines import without_lines
from distlenet.pictures.paper import Sheet, sheets_of
from distlenet.pictures.reading import WORKING, Picture, as_picture, contrasting_grey
from distlenet.pictures.touching import Likely, separated

# weights of readings, compared by weight times the network's probability; 1 for the plain one
OTHER = 0.98  # ink of the less likely polarity
INSIDE = 0.97  # without what lies at the edge
EDGE = 0.8  # with it
SURE = 0.9  # a plain reading above this is taken at once
CLOSER = 0.35  # a digit smaller than this share of the picture gets a closer look
MARGIN = 0.8  # paper around it, as a share of its size
LARGE = 48  # of several digits, the size in pixels that a closer look gives them, ...
LEAST_CLOSER, MOST_CLOSER = 1.3, 2.5  # ... if that is this many times as large
BLOCK = 16  # side in pixels of the blocks searched for a digit that the first look missed
LEAST = 12  # least size of such a digit in pixels; anything smaller is dust

Box = tuple[int, int, int, int]  # left, top, right, bottom


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
    digits: list[Digit] = []
    reason: PictureError | None = None
    try:
        digits = _look(picture, shape, many, likely)
    except SeveralDigits:
        raise
    except PictureError as error:
        reason = error
    box = _around(digits) if digits else _small_mark(picture)
    size = _closer_size(picture, digits, many)
    if box and size and picture.fine is not None:
        with suppress(PictureError):
            closer = _look_closer(picture, box, size, shape, many, likely)
            most = max(digit.looks_like for digit in [*digits, *closer])  # neighbours may lie outside the closer look
            return [replace(digit, looks_like=most) for digit in closer]
    if reason:
        raise reason
    return digits


def digits_in_ink(
    ink: np.ndarray, shape: tuple[int, int] = (SIDE, SIDE), *, likely: Likely | None = None
) -> list[Digit]:
    """Return a list with the one digit of ``ink`` (rows, columns) float32, 0 for paper to 1; its box is in pixels.

    If ``likely`` is given, touching digits are separated. Raises PictureError if the ink is only specks.
    """
    return _read(ink, 1.0, shape, separate=likely)


def _look(picture: Picture, shape: tuple[int, int], many: bool, likely: Likely | None) -> list[Digit]:
    """Return the digits of the best reading: its weight times the mean probability of its digits is the highest."""
    digits: list[Digit] = []
    reason, most = None, -1.0
    for weight, sheet, ink in _readings(contrasting_grey(picture.colours), many):
        try:
            found = _read(ink, picture.scale, shape, many, likely if many else None, sheet)
        except PictureError as error:
            reason = reason or error  # of the plain reading
            continue
        sure = weight * float(np.mean([likely(digit.image).max() if likely else 1 for digit in found]))
        if sure > most:
            digits, most = found, sure
        if weight == 1 and most > SURE:
            break
    if not digits:
        raise reason or PictureError("no digit was found in the picture: it shows only specks")
    return digits


def _readings(grey: np.ndarray, many: bool) -> Iterable[tuple[float, Sheet, np.ndarray]]:
    """Yield the readings of a picture, each with its weight, sheet and ink."""
    for sheet, clean in zip(sheets_of(grey), (1.0, OTHER), strict=False):
        ink = without_lines(without_frames(sheet.ink))
        outside = at_edge(ink, many)
        yield clean if outside is None else EDGE, sheet, ink
        if outside is not None and sheet.is_real(np.where(outside, ink, 0), border=0):  # no soft shadow
            with suppress(PictureError):
                inner = next(sheets_of(sheet.covered(grey, outside)))
                yield INSIDE, inner, apart(without_lines(without_frames(inner.ink)), outside)


def _read(
    ink: np.ndarray,
    scale: float,
    shape: tuple[int, int],
    many: bool = False,
    separate: Likely | None = None,
    sheet: Sheet | None = None,
) -> list[Digit]:
    """Return the digits in ``ink``; touching ones are separated if ``separate`` is given."""
    pieces, found, looks_like = find_pieces(ink, many)
    digits = []
    for piece in pieces:
        if sheet and not sheet.is_real(np.where(np.isin(found.labels, piece.members), ink, 0)):
            continue
        own, top, left = cut_out(ink, piece, found)
        for part in separated(own, shape, separate) if separate else [own]:
            rows, columns = (np.flatnonzero((part > CUT).any(axis=axis)) for axis in (1, 0))
            box = (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
            digits.append(Digit(normalized(part, shape), _rounded(box, scale), looks_like))
    if not digits:
        raise PictureError("no digit was found in the picture: its marks have no sharp edges")
    return digits


def _closer_size(picture: Picture, digits: list[Digit], many: bool) -> int:
    """Return the longer side in pixels of a closer look at ``digits`` of ``picture``; 0: they are large enough."""
    longest = float(np.median([_longest(digit.box) for digit in digits] or [0])) / picture.scale
    if not many:
        return WORKING if longest <= CLOSER * max(picture.colours.shape) else 0
    return round(min(MOST_CLOSER, LARGE / max(longest, 1)) * WORKING) if longest < LARGE / LEAST_CLOSER else 0


def _look_closer(
    picture: Picture, box: Box, size: int, shape: tuple[int, int], many: bool, likely: Likely | None
) -> list[Digit]:
    """Return the digits in and around ``box`` of ``picture``, read with at most ``size`` pixels along a side."""
    assert picture.fine is not None
    scale = picture.scale * max(picture.colours.shape) / max(picture.fine.shape)
    margin = round(MARGIN * (min(box[2] - box[0], box[3] - box[1]) if many else _longest(box)) / scale) + 8
    left, top, right, bottom = (round(edge / scale) for edge in box)
    left, top = max(0, left - margin), max(0, top - margin)
    part = picture.fine[top : bottom + margin, left : right + margin]
    digits = _look(as_picture(part, max(part.shape) * scale, size=size), shape, many, likely)
    if _longest(_around(digits)) < LEAST * scale:
        raise PictureError("no digit was found in the picture: it shows only specks")
    moved = (np.add(digit.box, [round(left * scale), round(top * scale)] * 2) for digit in digits)
    return [replace(digit, box=_rounded(place)) for digit, place in zip(digits, moved, strict=True)]


def _small_mark(picture: Picture) -> Box | None:
    """Return the box of a single small part of ``picture`` with far more contrast than the rest, or None."""
    fine = picture.fine
    if fine is None:
        return None
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


def _around(digits: list[Digit]) -> Box:
    """Return the box around all ``digits``."""
    low, high = (np.array([digit.box[side : side + 2] for digit in digits]) for side in (0, 2))
    return _rounded([*low.min(axis=0), *high.max(axis=0)])


def _rounded(edges: Iterable[float], scale: float = 1.0) -> Box:
    left, top, right, bottom = (round(float(edge * scale)) for edge in edges)
    return left, top, right, bottom


def _longest(box: Box) -> int:
    left, top, right, bottom = box
    return max(right - left, bottom - top)
