"""Finds the digits in the ink: connected pieces, without specks, with broken strokes joined again.

Pieces are built from connected components: runs of pixels in each row, joined where runs of adjacent rows touch.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from distlenet.errors import PictureError, SeveralDigits
from distlenet.pictures.filters import max_filter

CUT = 0.4  # pixels with more ink than this are connected
SPECK = 0.02  # largest area of a speck, as a share of the largest piece's
FLATTEST = 3.0  # largest width of a digit divided by its height; the flattest of MNIST's 60,000 has 2.5
NEAR = 0.3  # largest gap in a broken stroke, in heights of a digit
SMALLEST = 5  # least height or width of a digit, in pixels
MOST_PIECES = 600  # only the largest ones are considered; more are a pattern, not writing
MOST_DIGITS = 300  # in a picture
ALIKE = 0.6  # least height of a digit in a row of digits, as a share of the tallest's


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
        """Number of rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.right - self.left

    def joined(self, other: "Piece") -> "Piece":
        """Return the union of both."""
        low = (min(pair) for pair in ((self.top, other.top), (self.left, other.left)))
        high = (max(pair) for pair in ((self.bottom, other.bottom), (self.right, other.right)))
        return Piece(self.members + other.members, *low, *high)

    def gaps(self, other: "Piece") -> tuple[int, int]:
        """Return the numbers of rows and columns between the two boxes, negative if they overlap."""
        down = max(self.top, other.top) - min(self.bottom, other.bottom)
        return down, max(self.left, other.left) - min(self.right, other.right)


def find_pieces(ink: np.ndarray, many: bool) -> tuple[list[Piece], "Components", int]:
    """Return the digits of ``ink`` (rows, columns) in reading order, all components, and the number of digits that
    each looks like: usually 1, or more if several in a row were taken for one.

    Unless ``many``, all ink that can belong to one digit is taken for one. Raises PictureError if no digit is found,
    SeveralDigits if the ink is too wide for one.
    """
    found = components(ink > CUT)
    pieces = [Piece((label,), *map(int, box)) for label, box in enumerate(found.boxes)]
    pieces = [piece for piece, area in zip(pieces, found.areas, strict=True) if area >= max(3, SPECK * found.areas[0])]
    if not pieces or max(pieces[0].height, pieces[0].width) < SMALLEST:
        raise PictureError("no digit was found in the picture: it shows only specks")
    if many:
        if len(pieces) > MOST_PIECES or len(pieces := _separate(pieces)) > MOST_DIGITS:
            raise PictureError(f"the picture shows more than {MOST_DIGITS} marks: cut it into smaller pictures")
        return _in_reading_order(pieces), found, 1
    pieces = pieces[:MOST_PIECES]
    whole = _one(pieces)
    count = side_by_side(pieces)
    if whole.width > FLATTEST * whole.height:
        if count > 1:
            raise SeveralDigits(count)
        raise PictureError("no digit was found in the picture: its ink is too flat for one")
    return [whole], found, count


def side_by_side(pieces: list[Piece]) -> int:
    """Return how many digits ``pieces`` (largest first) look like: similar in height to the largest, in a row with it,
    and with paper in between.
    """
    separate, largest = _separate(pieces), pieces[0].members[0]
    whole = next((piece for piece in separate if largest in piece.members), pieces[0])
    row = [piece for piece in separate if ALIKE <= piece.height / whole.height <= 1 / ALIKE]
    row = [piece for piece in row if piece.gaps(whole)[0] < -0.5 * min(piece.height, whole.height)]
    row.sort(key=lambda piece: piece.left)
    return len(row) if all(a.gaps(b)[1] > 0 for a, b in pairwise(row)) else 1


def cut_out(ink: np.ndarray, piece: Piece, found: "Components") -> tuple[np.ndarray, int, int]:
    """Return the ink of ``piece`` alone, in its box with a margin for soft edges, and the first row and column."""
    margin = 2 + round(0.02 * piece.height)
    rows = slice(max(0, piece.top - margin), piece.bottom + margin)
    columns = slice(max(0, piece.left - margin), piece.right + margin)
    labels = found.labels[rows, columns]
    own = np.isin(labels, piece.members)
    soft = max_filter(own, (3, 3)) if max(labels.shape) < 60 else max_filter(own, (5, 5))
    return np.where(soft & (own | (labels < 0)), ink[rows, columns], 0), rows.start, columns.start


def _one(pieces: list[Piece]) -> Piece:
    """Return the largest piece joined with all pieces near it; here near means within twice the usual gap."""
    whole, rest = pieces[0], pieces[1:]
    while near := [piece for piece in rest if max(whole.gaps(piece)) <= 2 * NEAR * max(whole.height, whole.width)]:
        whole = whole.joined(near[0])
        rest.remove(near[0])
    return whole


def _separate(pieces: list[Piece]) -> list[Piece]:
    """Join each of ``pieces`` (largest first) to the nearest larger one that it can belong to, the smallest first; drop
    those that remain small.
    """
    typical = max(piece.height for piece in pieces)
    boxes = np.array([(piece.top, piece.left, piece.bottom, piece.right) for piece in pieces])
    wholes = list(pieces)
    for index in range(len(pieces) - 1, 0, -1):
        distances = _distances(boxes[index], boxes[:index], typical)
        nearest = int(distances.argmin())
        if distances[nearest] < np.inf:
            whole = wholes[nearest] = wholes[nearest].joined(wholes.pop(index))
            boxes[nearest] = whole.top, whole.left, whole.bottom, whole.right
    return [piece for piece in wholes if piece.height >= 0.35 * typical]


def _distances(box: np.ndarray, others: np.ndarray, typical: int) -> np.ndarray:
    """Return the distance of each of ``others`` (n, 4) from ``box``; infinity if they cannot belong to one digit."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    down, across = (low - high).T  # rows and columns between the boxes; negative where they overlap
    height, width = (np.minimum(box[2 + axis] - box[axis], others[:, 2 + axis] - others[:, axis]) for axis in (0, 1))
    small = height < 0.5 * typical
    one_above = (across <= -0.4 * width) & (down <= NEAR * typical) & (small | (down < 0))
    close = small & (np.maximum(down, across) <= 0.5 * NEAR * typical)
    distance = np.where(close, np.maximum(np.maximum(down, across), 0), np.inf)
    return np.where(one_above, np.maximum(down, 0), distance)


def _in_reading_order(pieces: list[Piece]) -> list[Piece]:
    """Sort line by line, each from left to right; a piece joins the line whose last piece is level with it."""
    lines: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.left):
        level = [line for line in lines if piece.gaps(line[-1])[0] < -0.3 * min(piece.height, line[-1].height)]
        if level:
            min(level, key=lambda line: piece.gaps(line[-1])[0]).append(piece)
        else:
            lines.append([piece])
    lines.sort(key=lambda line: np.mean([piece.top + piece.bottom for piece in line]))
    return [piece for line in lines for piece in line]


@dataclass(frozen=True)
class Components:
    """The components of a mask, largest first; boxes are (top, left, bottom, right), ends excluded."""

    labels: np.ndarray  # (rows, columns) int, -1 where the mask is False
    areas: np.ndarray  # (n,) pixels
    boxes: np.ndarray  # (n, 4)


def components(mask: np.ndarray) -> Components:
    """Return the components of ``mask`` (rows, columns) bool; pixels that meet at a corner are connected."""
    rows, columns = mask.shape
    flat = np.pad(mask, ((0, 0), (1, 1))).ravel().view(np.int8)  # a gap at both ends of each row
    change = np.diff(flat)
    start, stop = np.flatnonzero(change == 1) + 1, np.flatnonzero(change == -1) + 1
    row, first, last = start // (columns + 2), start % (columns + 2) - 1, (stop - 1) % (columns + 2)
    group = _joined(len(start), *_touching(row, first, last, columns + 2))
    names, run_group = np.unique(group, return_inverse=True)
    areas = np.bincount(run_group, last - first, minlength=len(names)).astype(int)
    boxes = np.zeros((len(names), 4), int)
    boxes[:, :2] = max(rows, columns)
    for column, values, extreme in ((0, row, np.minimum), (1, first, np.minimum), (2, row + 1, np.maximum)):
        extreme.at(boxes[:, column], run_group, values)
    np.maximum.at(boxes[:, 3], run_group, last)
    order = np.argsort(-areas, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    labels = np.full(mask.shape, -1)
    labels[mask] = np.repeat(rank[run_group], last - first)
    return Components(labels, areas[order], boxes[order])


def _touching(row: np.ndarray, first: np.ndarray, last: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs (above, below) of runs that touch, corners included.

    Runs are in reading order; run i covers columns first[i] to last[i] - 1 of its row.
    """
    begin, end = row * width + first, row * width + last
    # in the row below: the first run that ends at or after our start, the last that starts at or before our end
    low = np.searchsorted(end, begin + width, side="left")
    high = np.searchsorted(begin, end + width, side="right")
    count = np.maximum(high - low, 0)
    above = np.repeat(np.arange(len(row)), count)
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return above, np.repeat(low, count) + offset


def _joined(count: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return for each of ``count`` nodes the smallest node connected to it by the edges (one, other)."""
    parent = np.arange(count)
    while True:
        before = parent.copy()
        least = np.minimum(parent[one], parent[other])
        np.minimum.at(parent, parent[one], least)
        np.minimum.at(parent, parent[other], least)
        parent = parent[parent]
        if (parent == before).all() and (parent[one] == parent[other]).all():
            return parent
