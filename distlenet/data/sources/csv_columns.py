"""Which column of a table is the label, which are pixels, and which number the rows: told by its first line."""

import math
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from distlenet.errors import DataError, nearest

LABELS = ("label", "labels", "class", "y", "target", "digit")  # a header's names for the label, in any case
INDEX = ("", "unnamed: 0", "index", "id", "idx", "row", "rowid", "row_id", "image_id", "imageid")  # hold no pixels


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are; they are counted from 0 here, and from 1 in all that a user sees."""

    count: int
    header: bool
    label: int
    pixels: tuple[int, ...]
    told: bool  # whether the header or the user says which is the label; else it is a guess
    notes: tuple[str, ...]  # sentences on what was taken for what

    @property
    def used(self) -> tuple[int, ...]:
        """The columns that are read, in order."""
        return tuple(sorted((self.label, *self.pixels)))


def columns_of(
    first: Sequence[str], label: str | None, ignore: Sequence[str], path: Path, like: Columns | None = None
) -> Columns:
    """Return the columns of the table ``path``, whose first line has the cells ``first``.

    ``label`` is "first", "last", a name of the header or a number from 1; None: as the header says, else the first.
    ``ignore`` holds such names and numbers of columns that are neither label nor pixels. A table whose own first line
    does not tell has its columns ``like`` another. Raises DataError.
    """
    ignored = {_find(column, first, f"--ignore {column}", path) for column in ignore}
    header, notes = _is_header(first, ignored, path), []
    if header and all(map(is_number, first)):
        notes.append(f"line 1 of {path.name} counts the columns: taken for a header")
    names = [cell.lower() for cell in first] if header else []
    wanted = None if label in (None, "first", "last") else _find(label, first, f"--label {label}", path)
    for column, name in enumerate(names):
        if name in INDEX and column not in ignored and column != wanted:
            ignored.add(column)
            notes.append(f"column {column + 1} of {path.name} ({first[column]!r}) is left out: it numbers the rows")
    rest = [column for column in range(len(first)) if column not in ignored]
    if len(rest) < 2:
        raise DataError(f"{path} line 1 leaves {len(rest)} columns to read, expected a label and pixels")
    named = [column for column in rest if names and names[column] in LABELS]
    if wanted is None and label is None and len(named) > 1:
        both = " and ".join(f"{column + 1} ({first[column]!r})" for column in named[:2])
        raise DataError(f"{path}: columns {both} may both be the label; say which by --label, the other by --ignore")
    if wanted is None:
        wanted = rest[-1] if label == "last" else rest[0] if label == "first" or not named else named[0]
    if wanted in ignored:
        raise DataError(f"{path}: column {wanted + 1} is both --label and --ignore, expected one of them")
    told = label is not None or bool(named)
    if like is not None and like.count == len(first) and (like.told, told) == (True, False):
        return replace(like, header=header, notes=())
    if like is not None and like.count == len(first) and told and not like.told and wanted != like.label:
        raise DataError(
            f"{path} has its label in column {wanted + 1} by its header, the training table in column {like.label + 1} "
            "by default; say which by --label"
        )
    if header and not told and _is_pixel(names[rest[0]], names[rest[1]]):
        raise DataError(
            f"{path} has a header ({first[rest[0]][:40]!r}, {first[rest[1]][:40]!r} ...) that names no label; say "
            "which by --label NAME, first or last; a table without labels cannot be learned from"
        )
    pixels = tuple(column for column in rest if column != wanted)
    return Columns(len(first), header, wanted, pixels, told, tuple(notes))


def is_number(cell: str) -> bool:
    """Tell whether ``cell`` is a finite number as tables have it: 12, -0.5, 1e-3."""
    try:
        return cell.isascii() and "_" not in cell and math.isfinite(float(cell))
    except ValueError:
        return False


def _is_header(first: Sequence[str], ignored: Set[int], path: Path) -> bool:
    """Tell whether the first line of a table names its columns; raises DataError where it is a damaged image."""
    cells = [cell for column, cell in enumerate(first) if column not in ignored]
    odd = [column for column, cell in enumerate(first) if column not in ignored and not is_number(cell)]
    if not odd:
        counted = [str(number) for number in range(len(first) + 1)]
        return len(first) > 4 and list(first) in (counted[:-1], counted[1:])
    if len(odd) * 2 <= len(cells) and len(set(cells)) < len(cells):
        raise DataError(
            f"{path} line 1, column {odd[0] + 1} is {first[odd[0]][:40]!r}, expected a number, or a header that names "
            f"every column; labels are numbers too: number the classes 0, 1, 2 ... (--ignore {odd[0] + 1} leaves the "
            "column out)"
        )
    return True


def _is_pixel(name: str, following: str) -> bool:
    """Tell whether two names differ in their numbers alone: "pixel0" and "pixel1", "1x1" and "1x2"."""
    return name != following and not is_number(name) and re.sub(r"\d+", "", name) == re.sub(r"\d+", "", following)


def _find(column: str, first: Sequence[str], option: str, path: Path) -> int:
    """Return the place of the column that ``option`` names: by position, or as the first line does."""
    if column in ("first", "last"):
        return 0 if column == "first" else len(first) - 1
    if column.isdecimal():
        if not 1 <= int(column) <= len(first):
            raise DataError(f"{option}: {path} has columns 1 to {len(first)}")
        return int(column) - 1
    if column not in first:
        raise DataError(
            f"{option}: the first line of {path} has no such name{nearest(column, first[:1000])}; a number counts the "
            "columns from 1"
        )
    return list(first).index(column)
