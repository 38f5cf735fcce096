"""The whole way from a picture to its digits."""

from dataclasses import dataclass

import numpy as np

from distlenet.errors import PictureError
from distlenet.pictures.box import SIDE, normalized
from distlenet.pictures.colour import contrasting_grey
from distlenet.pictures.digits import cut_out, find_pieces
from distlenet.pictures.lines import without_lines
from distlenet.pictures.paper import sheet_of
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
    sheet = sheet_of(contrasting_grey(picture.colours))
    ink = without_lines(sheet.ink)
    pieces, found = find_pieces(ink, many)
    pieces = [piece for piece in pieces if sheet.is_real(np.where(np.isin(found.labels, piece.members), ink, 0))]
    if not pieces:
        raise PictureError("no digit was found in the picture: what stands out from the paper has no sharp edges")
    return [
        Digit(
            normalized(cut_out(ink, piece, found), shape),
            tuple(round(edge * picture.scale) for edge in (piece.left, piece.top, piece.right, piece.bottom)),
        )
        for piece in pieces
    ]
