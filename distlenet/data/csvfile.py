"""Tables of images: one line an image, its label first or last, then a number for every pixel; plain or gzip.

numpy's own reader takes blocks of lines as uint8, which is fast; a block that it refuses is read as floats, and
what is no number either is looked for line by line, so that the error can name it.
"""

import gzip
import math
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from distlenet.data.dataset import SEED, Dataset, mixed, with_test_images
from distlenet.data.labels import number_classes
from distlenet.data.pixels import as_pixels, shape_of
from distlenet.data.progress import Progress
from distlenet.errors import DataError

BLOCK_LINES = 2000
DELIMITERS = ",;\t"
LABEL_NAMES = ("label", "class", "y", "target", "digit")  # of a header's column, in any case
LONGEST_LINE = 2_000_000  # characters: an image of 512 x 512 pixels needs fewer


def read_csv(
    place: Path,
    progress: Progress,
    *,
    test: Path | None = None,
    label: str | None = None,
    size: tuple[int, int] | None = None,
    share: float = 0.2,
    seed: int = SEED,
) -> Dataset:
    """Read the table ``place``, and ``test`` if there is one; else ``share`` of the images become test images.

    ``label`` is "first" or "last"; None: what the header says, else first. ``size`` is (rows, columns); None:
    images are square. The training images are mixed by ``seed``. Raises DataError that names the line.
    """
    paths = [place] if test is None else [place, test]
    tables = [read_table(path, label, progress) for path in paths]
    where = [f"{path}" for path in paths]
    widths = {pixels.shape[1] for _, pixels in tables}
    if len(widths) > 1:
        raise DataError(
            f"{place} has {tables[0][1].shape[1]} pixels per image, {test} {tables[1][1].shape[1]}, "
            "expected as many (and a label in both)"
        )
    rows, columns = shape_of(widths.pop(), size, f"{place}")
    pixels = as_pixels({path: table[1] for path, table in zip(where, tables, strict=True)})
    images = [pixels[path].reshape(-1, rows, columns) for path in where]
    labels, test_labels, names = number_classes(tables[0][0], tables[1][0] if test else None, (where[0], where[-1]))
    if test is None:
        train, tests = with_test_images((images[0], labels), share, seed, where[0])
        cut = f"{100 * share:g} % of each class set aside for the test and "
    else:
        train, tests, cut = mixed((images[0], labels), seed), (images[1], test_labels), ""
    source = f"read from {' and '.join(path.name for path in paths)}, {cut}mixed by seed {seed}"
    return Dataset(train, tests, place.name.split(".")[0] or "table", names, source, ", ".join(where))


def read_table(path: Path, label: str | None, progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels (n,) and the pixels (n, columns) of ``path``, uint8 or float32; raises DataError."""
    try:
        with _open(path) as file:
            return _read(file, path, label, progress)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}, expected a table (CSV, .gz or not)") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}; get the file again") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text, expected a table (CSV, .gz or not)") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _open(path: Path) -> TextIO:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return (gzip.open if packed else open)(path, "rt", encoding="utf-8-sig")


def _read(file: TextIO, path: Path, label: str | None, progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    first = file.readline(LONGEST_LINE)
    if not first.strip():
        raise DataError(f"{path} is empty or begins with an empty line, expected a header or an image")
    delimiter = max(DELIMITERS, key=first.count)
    cells = _cells(first, delimiter)
    if len(cells) < 2 or len(first) == LONGEST_LINE:
        raise DataError(f"{path} line 1 has {len(cells)} columns, expected a label and pixels with commas between")
    header = not (_is_number(cells[0]) and _is_number(cells[-1]))
    if header and label is None and cells[-1].lower() in LABEL_NAMES:
        label = "last"
    blocks, number = [], 1 + header
    for lines in _blocks(file, [] if header else [first]):
        blocks.append(_numbers(lines, len(cells), delimiter, path, number))
        number += len(lines)
        progress(f"reading {path.name}", number - 1 - header, 0)
    if not any(map(len, blocks)):
        raise DataError(f"{path} has a header and no image")
    column = len(cells) - 1 if label == "last" else 0
    labels = np.concatenate([block[:, column] for block in blocks])
    if (labels != np.floor(labels)).any():
        found = labels[(labels != np.floor(labels)).argmax()]
        raise DataError(
            f"{path}: column {column + 1} holds {found:g}, expected labels: whole numbers; is the label "
            f"the {'first' if column else 'last'} column? (--label first, --label last)"
        )
    return labels, np.concatenate([np.delete(block, column, axis=1) for block in blocks])


def _blocks(file: TextIO, first: list[str]) -> Iterator[list[str]]:
    """Yield the lines of ``file`` in blocks, after ``first``."""
    while lines := first + list(islice(file, BLOCK_LINES)):
        yield lines
        first = []


def _numbers(lines: list[str], columns: int, delimiter: str, path: Path, number: int) -> np.ndarray:
    """Return ``lines``, whose first is line ``number`` of the file, as (n, columns) uint8, else float32."""
    filled = [line for line in lines if not line.isspace()]
    if not filled:
        return np.empty((0, columns), np.uint8)
    for dtype in (np.uint8, np.float32):
        try:
            block = np.loadtxt(filled, dtype, delimiter=delimiter, comments=None, quotechar='"', ndmin=2)
        except ValueError:
            continue
        if block.shape == (len(filled), columns) and (block >= 0).all() and (block <= 255).all():
            return block
    raise _fault(lines, columns, delimiter, path, number)


def _fault(lines: list[str], columns: int, delimiter: str, path: Path, number: int) -> DataError:
    """Return the error that names the first line that is wrong, and what is wrong with it."""
    for place, line in enumerate(lines, number):
        cells = _cells(line, delimiter)
        if line.isspace():
            continue
        if len(cells) != columns:
            return DataError(f"{path} line {place} has {len(cells)} columns, expected {columns} columns as in line 1")
        for column, cell in enumerate(cells, 1):
            if not _is_number(cell):
                return DataError(f"{path} line {place}, column {column} is {cell[:40]!r}, expected a number")
            if not 0 <= float(cell) <= 255:
                return DataError(f"{path} line {place}, column {column} is {cell[:40]}, expected 0 to 255")
    return DataError(f"{path} lines {number} to {number + len(lines) - 1} cannot be read as numbers")


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.strip("\r\n").split(delimiter)]


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
