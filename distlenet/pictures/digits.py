"""Finding the digits among the ink: connected pieces, specks left out, broken strokes put together again."""

from dataclasses import dataclass

import numpy as np

from distlenet.errors import PictureError
from distlenet.pictures.components import Components, components
from distlenet.pictures.filters import max_filter

CUT = 0.4  # ink above this holds a stroke together
SPECK = 0.02  # ink of a speck, as a share of the largest piece's
FLATTEST = 3.0  # width of one digit over its height; the flattest of the 60,000 of MNIST has 2.5
NEAR = 0.3  # gap that a broken stroke leaves at most, in heights of a digit
SMALLEST = 5  # pixels of the height or width of a digit


@dataclass(frozen=True)
class Piece:
    """One or more components that make one digit."""

    members: tuple[int, ...]  # labels of the components
    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows from the first to the last."""
        return self.bottom - self.top

    def joined(self, other: "Piece") -> "Piece":
        """Return both as one."""
        low = (min(pair) for pair in ((self.top, other.top), (self.left, other.left)))
        high = (max(pair) for pair in ((self.bottom, other.bottom), (self.right, other.right)))
        return Piece(self.members + other.members, *low, *high)

    def gaps(self, other: "Piece") -> tuple[int, int]:
        """Return the rows and the columns between the two boxes; negative where they overlap by so many."""
        down = max(self.top, other.top) - min(self.bottom, other.bottom)
        return down, max(self.left, other.left) - min(self.right, other.right)


def find_pieces(ink: np.ndarray, many: bool) -> tuple[list[Piece], Components]:
    """Return the digits of ``ink`` (rows, columns) in reading order, and the components they are made of.

    Unless ``many``, all the ink that can belong to one digit is one digit. Raises PictureError if there is none.
    """
    found = components(ink > CUT)
    pieces = [Piece((label,), *map(int, box)) for label, box in enumerate(found.boxes)]
    pieces = [piece for piece, area in zip(pieces, found.areas, strict=True) if area >= max(3, SPECK * found.areas[0])]
    if not pieces or max(pieces[0].height, pieces[0].right - pieces[0].left) < SMALLEST:
        raise PictureError("no digit was found in the picture: there are only specks")
    pieces = _separate(pieces) if many else [_one(pieces)]
    if not many and pieces[0].right - pieces[0].left > FLATTEST * pieces[0].height:
        raise PictureError("no digit was found in the picture: what stands out from the paper is too flat for one")
    return _in_reading_order(pieces), found


def cut_out(ink: np.ndarray, piece: Piece, found: Components) -> tuple[np.ndarray, int, int]:
    """Return the ink of ``piece`` alone, in its box and a margin for the soft edge, and the margin's row and column."""
    margin = 2 + round(0.02 * piece.height)
    rows = slice(max(0, piece.top - margin), piece.bottom + margin)
    columns = slice(max(0, piece.left - margin), piece.right + margin)
    labels = found.labels[rows, columns]
    own = np.isin(labels, piece.members)
    soft = max_filter(own, (3, 3)) if max(labels.shape) < 60 else max_filter(own, (5, 5))
    return np.where(soft & (own | (labels < 0)), ink[rows, columns], 0), rows.start, columns.start


def _one(pieces: list[Piece]) -> Piece:
    """Return the largest piece with all that is near it: for large pieces, near means twice as far."""
    whole, rest = pieces[0], pieces[1:]
    while True:
        reach = 2 * NEAR * max(whole.height, whole.right - whole.left)
        near = next((piece for piece in rest if max(whole.gaps(piece)) <= reach), None)
        if near is None:
            return whole
        whole = whole.joined(near)
        rest.remove(near)


def _separate(pieces: list[Piece]) -> list[Piece]:
    """Join the pieces that belong to one digit, the nearest first; what stays small is no digit."""
    typical = max(piece.height for piece in pieces)
    while len(pieces) > 1:
        pairs = [(_apart(a, b, typical), i, j) for i, a in enumerate(pieces) for j, b in enumerate(pieces[:i])]
        distance, i, j = min(pairs)
        if distance == np.inf:
            break
        whole = pieces[i].joined(pieces[j])
        pieces = [piece for place, piece in enumerate(pieces) if place not in (i, j)] + [whole]
    return [piece for piece in pieces if piece.height >= 0.35 * typical]


def _apart(a: Piece, b: Piece, typical: int) -> float:
    """Return how far two pieces are apart, or infinity if they cannot belong to one digit."""
    down, across = a.gaps(b)
    narrow = min(a.right - a.left, b.right - b.left)
    one_above = across <= -0.4 * narrow and down <= NEAR * typical
    small = min(a.height, b.height) < 0.5 * typical
    if one_above and (small or down < 0):
        return max(down, 0)
    if small and max(down, across) <= 0.5 * NEAR * typical:
        return max(down, across, 0)
    return np.inf


def _in_reading_order(pieces: list[Piece]) -> list[Piece]:
    """Sort line by line, each from left to right; a piece follows the one on its left that is at its height."""
    lines: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.left):
        beside = [line for line in lines if piece.gaps(line[-1])[0] < -0.3 * min(piece.height, line[-1].height)]
        if beside:
            min(beside, key=lambda line: piece.gaps(line[-1])[0]).append(piece)
        else:
            lines.append([piece])
    lines.sort(key=lambda line: np.mean([piece.top + piece.bottom for piece in line]))
    return [piece for line in lines for piece in line]
