"""The whole way from a picture to its digits."""

from dataclasses import dataclass

import numpy as np

from distlenet.pictures.box import SIDE, normalized
from distlenet.pictures.colour import contrasting_grey
from distlenet.pictures.digits import cut_out, find_pieces
from distlenet.pictures.lines import without_lines
from distlenet.pictures.paper import ink_on_paper
from distlenet.pictures.reading import Picture


@dataclass(frozen=True)
class Digit:
    """One digit of a picture."""

    image: np.ndarray  # (rows, columns) uint8, as the network wants it
    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels of the picture, turned the right way up


def digits_in(picture: Picture, shape: tuple[int, int] = (SIDE, SIDE), *, many: bool = False) -> list[Digit]:
    """Return the digits of ``picture`` in reading order, normalised to ``shape``; just one unless ``many``.

    Raises PictureError if the picture is blank, or shows nothing that can be a digit.
    """
    ink = without_lines(ink_on_paper(contrasting_grey(picture.colours)))
    return digits_in_ink(ink, shape, many=many, scale=picture.scale)


def digits_in_ink(
    ink: np.ndarray, shape: tuple[int, int] = (SIDE, SIDE), *, many: bool = False, scale: float = 1.0
) -> list[Digit]:
    """Return the digits of ``ink`` (rows, columns), 0 for paper to 1; their boxes are in pixels times ``scale``.

    Raises PictureError if there are only specks.
    """
    pieces, found = find_pieces(ink, many)
    return [
        Digit(
            normalized(cut_out(ink, piece, found), shape),
            tuple(round(edge * scale) for edge in (piece.left, piece.top, piece.right, piece.bottom)),
        )
        for piece in pieces
    ]
