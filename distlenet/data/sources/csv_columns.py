"""Finds the label, the pixels and row numbers among the columns of a table, from its first line."""

import math
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from distlenet.errors import DataError, nearest

LABELS = ("label", "labels", "class", "y", "target", "digit")  # names of a label column, ignoring case
INDEX = ("", "unnamed: 0", "index", "id", "idx", "row", "rowid", "row_id", "image_id", "imageid")  # row numbers


@dataclass(frozen=True)
class Columns:
    """The roles of a table's columns, which are counted from 0 here and from 1 in messages and options."""

    count: int
    header: bool
    label: int
    pixels: tuple[int, ...]
    certain: bool  # whether the header or the user names the label; otherwise it is a guess
    notes: tuple[str, ...]  # sentences about assumptions

    @property
    def used(self) -> tuple[int, ...]:
        """The columns that are read, in order."""
        return tuple(sorted((self.label, *self.pixels)))


def columns_of(
    first: Sequence[str], label: str | None, ignore: Sequence[str], path: Path, like: Columns | None = None
) -> Columns:
    """Return the columns of the table ``path``; ``first`` are the cells of its first line.

    ``label`` is "first", "last", a name in the header or a number from 1; None means the header's label column, else
    the first column. ``ignore`` lists columns, in the same form, that are neither label nor pixels. If the first line
    does not show the label, the columns are those of the table ``like``. Raises DataError.
    """
    ignored = {_find(column, first, f"--ignore {column}", path) for column in ignore}
    header, notes = _is_header(first, ignored, path), []
    if header and all(map(is_number, first)):
        notes.append(f"line 1 of {path.name} numbers the columns: taken for a header")
    names = [cell.lower() for cell in first] if header else []
    wanted = None if label in (None, "first", "last") else _find(label, first, f"--label {label}", path)
    for column, name in enumerate(names):
        if name in INDEX and column not in ignored and column != wanted:
            ignored.add(column)
            notes.append(f"column {column + 1} of {path.name} ({first[column]!r}) is skipped: it numbers the rows")
    rest = [column for column in range(len(first)) if column not in ignored]
    if len(rest) < 2:
        raise DataError(f"{path} line 1 leaves {len(rest)} columns to read, expected a label and pixels")
    named = [column for column in rest if names and names[column] in LABELS]
    if wanted is None and label is None and len(named) > 1:
        both = " and ".join(f"{column + 1} ({first[column]!r})" for column in named[:2])
        raise DataError(f"{path}: columns {both} may both be the label; name it with --label, the other with --ignore")
    if wanted is None:
        wanted = rest[-1] if label == "last" else rest[0] if label == "first" or not named else named[0]
    if wanted in ignored:
        raise DataError(f"{path}: column {wanted + 1} is both --label and --ignore, expected one of them")
    certain = label is not None or bool(named)
    if like is not None and like.count == len(first) and (like.certain, certain) == (True, False):
        return replace(like, header=header, notes=())
    if like is not None and like.count == len(first) and certain and not like.certain and wanted != like.label:
        raise DataError(
            f"{path} has its label in column {wanted + 1} according to its header, the training table in column "
            f"{like.label + 1} by default; name the column with --label"
        )
    if header and not certain and _is_pixel(names[rest[0]], names[rest[1]]):
        raise DataError(
            f"{path} has a header ({first[rest[0]][:40]!r}, {first[rest[1]][:40]!r} ...) that names no label; give the "
            "label with --label NAME, first or last; a table without labels cannot be used for training"
        )
    pixels = tuple(column for column in rest if column != wanted)
    return Columns(len(first), header, wanted, pixels, certain, tuple(notes))


def is_number(cell: str) -> bool:
    """Whether ``cell`` is a finite number as written in tables: 12, -0.5, 1e-3."""
    try:
        return cell.isascii() and "_" not in cell and math.isfinite(float(cell))
    except ValueError:
        return False


def _is_header(first: Sequence[str], ignored: Set[int], path: Path) -> bool:
    """Whether the first line of a table names its columns; raises DataError if it is a damaged image."""
    cells = [cell for column, cell in enumerate(first) if column not in ignored]
    odd = [column for column, cell in enumerate(first) if column not in ignored and not is_number(cell)]
    if not odd:
        counted = [str(number) for number in range(len(first) + 1)]
        return len(first) > 4 and list(first) in (counted[:-1], counted[1:])
    if len(odd) * 2 <= len(cells) and len(set(cells)) < len(cells):
        raise DataError(
            f"{path} line 1, column {odd[0] + 1} is {first[odd[0]][:40]!r}, expected a number, or a header that names "
            f"every column; labels are numbers too: number the classes 0, 1, 2 ... (--ignore {odd[0] + 1} skips the "
            "column)"
        )
    return True


def _is_pixel(name: str, following: str) -> bool:
    """Whether two names differ only in their numbers: "pixel0" and "pixel1", "1x1" and "1x2"."""
    return name != following and not is_number(name) and re.sub(r"\d+", "", name) == re.sub(r"\d+", "", following)


def _find(column: str, first: Sequence[str], option: str, path: Path) -> int:
    """Return the index of the column that ``option`` gives by number or by its name in the first line."""
    if column in ("first", "last"):
        return 0 if column == "first" else len(first) - 1
    if column.isdecimal():
        if not 1 <= int(column) <= len(first):
            raise DataError(f"{option}: {path} has columns 1 to {len(first)}")
        return int(column) - 1
    if column not in first:
        raise DataError(
            f"{option}: the first line of {path} has no such name{nearest(column, first[:1000])}; columns can also be "
            "given by number, from 1"
        )
    return list(first).index(column)
