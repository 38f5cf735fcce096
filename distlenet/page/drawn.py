"""From a drawing to the digits that it shows: the one that was asked for, or several side by side."""

from dataclasses import replace

import numpy as np

from distlenet.errors import PictureError, SeveralDigits
from distlenet.page.strokes import Drawing, all_points, ink_of, inked
from distlenet.pictures import Digit, digits_in_ink
from distlenet.pictures.box import BOX, THICK
from distlenet.pictures.digits import find_pieces
from distlenet.reader import Reader

WIDE = 1.2  # width over height from which on a drawing may be several digits
SEVERAL = 128  # pixels along the longer side of ink in which digits are told apart


def one_digit(drawing: Drawing, reader: Reader) -> Digit:
    """Return ``drawing`` as one digit, and how many it looks like.

    Raises PictureError where nothing, or only a dot, was drawn; SeveralDigits where it is too wide for one.
    """
    count = len(parts_of(drawing)) if _is_wide(drawing) else 1
    try:
        [digit] = digits_in_ink(ink_of(drawing), reader.image_shape)
    except SeveralDigits as error:
        raise SeveralDigits(max(count, error.count)) from error
    return replace(digit, looks_like=max(count, digit.looks_like))


def each_digit(drawing: Drawing, reader: Reader) -> list[Digit]:
    """Return the digits of ``drawing`` in reading order; raises PictureError if there is none."""
    digits, reason = [], PictureError("no digit was found in the drawing")
    for part in parts_of(drawing):
        try:
            digits += digits_in_ink(ink_of(part), reader.image_shape, likely=reader.probabilities)
        except PictureError as error:  # a dash among digits, for example
            reason = error
    if not digits:
        raise reason
    return digits


def _is_wide(drawing: Drawing) -> bool:
    """Whether ``drawing`` is so wide that it may be several digits in a row."""
    across, down = np.ptp(all_points(drawing), axis=0)
    return across > WIDE * down


def parts_of(drawing: Drawing) -> list[Drawing]:
    """Return the strokes of each digit of ``drawing``, in reading order; digits that touch stay together.

    Raises PictureError where nothing, or only a dot, was drawn.
    """
    size = np.ptp(all_points(drawing), axis=0).max()
    ink, places = inked(drawing, SEVERAL, min(drawing.width / (size + drawing.width), THICK / BOX))
    pieces, found, _ = find_pieces(ink, many=True)
    nobody = len(pieces)
    owner = np.full(len(found.areas) + 1, nobody)  # of each component; -1, the paper, is the last
    for number, piece in enumerate(pieces):
        owner[list(piece.members)] = number
    digits: list[list[np.ndarray]] = [[] for _ in range(nobody + 1)]
    for stroke, place in zip(drawing.strokes, places, strict=True):
        column, row = place.round().astype(int).T
        labels = found.labels[row.clip(0, len(ink) - 1), column.clip(0, ink.shape[1] - 1)]
        digits[np.bincount(owner[labels], minlength=nobody + 1).argmax()].append(stroke)
    del digits[nobody]  # specks
    return [Drawing(strokes, drawing.width) for strokes in digits if strokes]
