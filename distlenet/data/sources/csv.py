"""Tables of images: one line per image, with a label (first or last) and a number for every pixel; plain or gzip.

A block of lines made of digits is read as integers, which is fast; any other block is read as floats. If that fails,
the lines are checked one by one, so that the error can name the line. Memory is bounded by the number of columns, for
a line as for the whole file.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

import numpy as np

from distlenet.data.file.header import LARGEST_SIDE
from distlenet.data.file.kind import HEAD, kind_of, kind_of_bytes
from distlenet.data.file.writer import Progress
from distlenet.data.sources.csv_columns import Columns, columns_of, is_number
from distlenet.data.sources.dataset import SEED, Dataset, divided, shape_of
from distlenet.data.sources.numbers import LARGEST_LABEL, as_blocks
from distlenet.data.sources.unpacking import check_unpacked, open_unpacked, readable
from distlenet.errors import DataError

BLOCK_LINES = 2000
BLOCK_NUMBERS = 4_000_000  # most numbers in a block of lines
DELIMITERS = ",;\t"
MOST_COLUMNS = LARGEST_SIDE**2 + 20
CELL = 40  # most characters of a number with its delimiter and spaces
PLENTY = 2**26  # bytes to which a packed table may always unpack; see most_unpacked
DIGITS = re.compile(r'[0-9,;\t "\r\n]*')


def read_csv(
    place: Path,
    progress: Progress,
    *,
    test: Path | None = None,
    label: str | None = None,
    ignore: Sequence[str] = (),
    size: tuple[int, int] | None = None,
    share: float = 0.2,
    seed: int = SEED,
) -> Dataset:
    """Read the training table ``place`` and the test table ``test``.

    Without ``test``, ``share`` of the images become test images. For ``label`` and ``ignore`` see columns_of. ``size``
    is (rows, columns); None means square images. The training images are shuffled with ``seed``. Raises DataError
    naming the line.
    """
    paths = {"train": place} if test is None else {"train": place, "test": test}
    tables: dict[str, tuple[np.ndarray, np.ndarray, Columns]] = {}
    for split, path in paths.items():
        like = tables["train"][2] if tables else None
        tables[split] = _read_table(path, partial(columns_of, label=label, ignore=ignore, like=like), progress)
    widths = [pixels.shape[1] for _, pixels, _ in tables.values()]
    if widths[0] != widths[-1]:
        raise DataError(
            f"{place} has {widths[0]} pixels per image and {test} has {widths[1]}, expected the same number (and a "
            "label in both)"
        )
    _check_no_index(tables["train"][0], tables["train"][2], place)
    rows, columns = _shape(widths[0], size, place)
    blocks, class_names = as_blocks(
        {split: (pixels.reshape(-1, rows, columns), labels) for split, (labels, pixels, _) in tables.items()},
        {split: (f"{path}", f"{path}") for split, path in paths.items()},
    )
    notes = list(dict.fromkeys(note for _, _, table in tables.values() for note in table.notes))
    name, source = place.name.split(".")[0] or "table", " and ".join(path.name for path in paths.values())
    origin = ", ".join(map(str, paths.values()))
    return divided(blocks, place, share, seed, name, class_names, f"read from {source}", notes, origin)


def _read_table(
    path: Path, find_columns: Callable[..., Columns], progress: Progress
) -> tuple[np.ndarray, np.ndarray, Columns]:
    """Return the labels (n,) and pixels (n, pixels), uint8 or float32, of ``path``, and its columns."""
    expected = "a table (CSV, .gz or not)"
    if path.is_dir():
        raise DataError(f"{path} is a directory, expected {expected}")
    try:
        with readable(path, expected):
            check_unpacked(path, PLENTY)
            with open_unpacked(path, PLENTY) as file, TextIOWrapper(file, "utf-8-sig") as text:
                kind = kind_of_bytes(file.peek(HEAD)[:HEAD])
                if not kind.startswith(("a table", "text (", "empty")):
                    raise DataError(f"{path} is {kind_of(path)}, expected {expected}")
                return _read(text, path, find_columns, progress)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8, expected {expected}") from error


def _read(
    file: TextIO, path: Path, find_columns: Callable[..., Columns], progress: Progress
) -> tuple[np.ndarray, np.ndarray, Columns]:
    first = file.readline(CELL * MOST_COLUMNS)
    if not first.strip():
        raise DataError(f"{path} is empty or starts with an empty line, expected a header or an image")
    if first.startswith("#"):
        raise DataError(f"{path} line 1 starts with #: remove the comment, or only the # if the line is a header")
    delimiter = max(DELIMITERS, key=first.count)
    count = first.count(delimiter) + 1
    if not 2 <= count <= MOST_COLUMNS or len(first) == CELL * MOST_COLUMNS:
        spaces = ", not spaces" if count == 1 and first.count(" ") > 1 else ""
        raise DataError(
            f"{path} line 1 has {count} columns and {len(first):,} characters, expected a label and up to "
            f"{LARGEST_SIDE} x {LARGEST_SIDE} pixels separated by commas{spaces}"
        )
    if delimiter == "," and max(first.count(";"), first.count("\t")) > 1:
        raise DataError(
            f"{path} line 1 has commas and {';' if ';' in first else 'tabs'}, probably decimal commas: write numbers "
            "with a decimal point"
        )
    columns = find_columns(_cells(first, delimiter), path=path)
    labels, pixels, number = [], [], 1 + columns.header
    for lines in _blocks(file, [] if columns.header else [first], count, path, number):
        of_block = _block(lines, columns, delimiter, path, number)
        labels.append(of_block[0])
        pixels.append(of_block[1])
        number += len(lines)
        progress(f"reading {path.name}", number - 1 - columns.header, 0)
    if not any(map(len, labels)):
        raise DataError(f"{path} has a header but no image")
    return np.concatenate(labels), np.concatenate(pixels), columns


def _blocks(file: TextIO, first: list[str], columns: int, path: Path, number: int) -> Iterator[list[str]]:
    """Yield ``first`` and the lines of ``file`` in blocks; the first line yielded is line ``number``."""
    longest = CELL * columns + 1000
    most = max(1, min(BLOCK_LINES, BLOCK_NUMBERS // columns))
    lines = first
    while line := file.readline(longest):
        if len(line) == longest:
            number += len(lines)
            raise DataError(f"{path} line {number} has {longest:,} characters or more, too many for {columns} columns")
        lines.append(line)
        if len(lines) >= most:
            yield lines
            number += len(lines)
            lines = []
    yield lines


def _block(
    lines: list[str], columns: Columns, delimiter: str, path: Path, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels int64 (n,) and the pixels (n, pixels), uint8 if they are integers, else float32.

    The first of ``lines`` is line ``number`` of the file; empty lines are skipped.
    """
    filled = [line for line in lines if not line.isspace()]
    if not filled:
        return np.empty(0, np.int64), np.empty((0, len(columns.pixels)), np.uint8)
    numbers = _numbers(filled, columns, delimiter)
    if numbers is None:
        raise _fault(lines, columns, delimiter, path, number)
    labels, pixels = numbers
    whole = pixels.dtype.kind == "i" or (pixels == np.floor(pixels)).all()
    return labels.astype(np.int64), pixels.astype(np.uint8 if whole else np.float32)


def _numbers(lines: list[str], columns: Columns, delimiter: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return labels and pixels of ``lines`` as int64 or float64; None if a number is missing or invalid."""
    if any(line.count(delimiter) != columns.count - 1 for line in lines):
        return None
    # some releases of numpy read "0.5" as the integer 0, so only lines of digits are read as integers
    dtype = np.int64 if all(map(DIGITS.fullmatch, lines)) else np.float64
    used = columns.used if len(columns.used) < columns.count else None
    try:
        numbers = np.loadtxt(lines, dtype, delimiter=delimiter, comments=None, quotechar='"', usecols=used, ndmin=2)
    except ValueError:
        return None
    index = columns.used.index(columns.label)
    labels, pixels = numbers[:, index], np.delete(numbers, index, axis=1)
    right = (labels >= 0) & (labels <= LARGEST_LABEL) & (labels == np.floor(labels))  # false for NaN
    return (labels, pixels) if right.all() and (pixels >= 0).all() and (pixels <= 255).all() else None


def _fault(lines: list[str], columns: Columns, delimiter: str, path: Path, number: int) -> DataError:
    """Return the error that names the first invalid line and its fault."""
    for line_number, line in enumerate(lines, number):
        if line.isspace():
            continue
        cells = _cells(line, delimiter)
        if len(cells) != columns.count:
            return DataError(
                f"{path} line {line_number} has {len(cells)} columns, expected {columns.count} columns as in line 1"
            )
        for column in columns.used:
            if expected := _expected(cells[column], column == columns.label):
                found = f"{path} line {line_number}, column {column + 1} is {cells[column][:40]!r}"
                return DataError(f"{found}, expected {expected}".replace("COLUMN", f"{column + 1}"))
    return DataError(f"{path} lines {number} to {number + len(lines) - 1} cannot be read as numbers")


def _expected(cell: str, is_label: bool) -> str:
    """Return a description of the value expected instead of ``cell``; empty if ``cell`` is valid."""
    if not is_number(cell) and is_label:
        return "a label: a whole number; number the classes 0, 1, 2 ... (if another column is the label: --label NAME)"
    if not is_number(cell):
        return "a number (--ignore COLUMN skips the column)"
    value = float(cell)
    if is_label and not (0 <= value <= LARGEST_LABEL and value.is_integer()):
        return "a label: a whole number of at least 0 (if another column is the label: --label NAME, first or last)"
    if is_label or 0 <= value <= 255:
        return ""
    undo = ": undo the standardisation" if value < 0 else ""
    return f"a pixel from 0 to 255, or from 0 to 1{undo} (--ignore COLUMN skips the column)"


def _check_no_index(labels: np.ndarray, columns: Columns, path: Path) -> None:
    """Raise DataError if the label column is a guess and its numbers count the rows."""
    counted = len(labels) > 10 and labels[0] in (0, 1) and (np.diff(labels) == 1).all()
    if counted and not columns.certain:
        raise DataError(
            f"{path}: column {columns.label + 1}, taken for the label, numbers the rows ({labels[0]}, {labels[1]}, "
            f"{labels[2]} ...); skip it with --ignore {columns.label + 1}, or add --label first if these are the labels"
        )


def _shape(pixels: int, size: tuple[int, int] | None, path: Path) -> tuple[int, int]:
    """Return (rows, columns) of the images; raises DataError, with a hint if one column is too many or missing."""
    try:
        return shape_of(pixels, size, f"{path}")
    except DataError as error:
        for other, guess in (
            (pixels - 1, "a column too many: skip it with --ignore NAME"),
            (pixels + 1, "no label"),
        ):
            if other > 0 and (other == size[0] * size[1] if size else math.isqrt(other) ** 2 == other):
                raise DataError(f"{error}; or the table has {guess}") from error
        raise


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.strip("\r\n").split(delimiter)]
