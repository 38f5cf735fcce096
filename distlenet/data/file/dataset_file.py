"""The dataset file: digits, labels and checksums in one HDF5 file. Each rank reads its part of it.

    with open_digit_file("datasets/mnist.h5") as digits:
        images, labels = digits.read("train", 0, 7500, verify=True)

Layout: ``/train`` and ``/test`` each hold ``images`` uint8 (n, rows, columns), ``labels`` uint8 (n,) and
``sha256`` uint8 (blocks, 32), all contiguous; attributes of the root hold the rest (see datasets/README.md).
"""

import errno
import os
import re
from pathlib import Path

import h5py
import numpy as np

from distlenet.activity import advance
from distlenet.data.file.hdf5 import ForeignError, NotHDF5Error, open_hdf5
from distlenet.data.file.header import (
    BLOCK_ROWS,
    DATASETS,
    SPLITS,
    AnotherKindError,
    Header,
    block_digests,
    read_header,
)
from distlenet.data.file.kind import kind_of, prepare_command
from distlenet.data.file.writer import BlockStream, write_digit_file
from distlenet.errors import DataError

AGAIN = "make it again with `distlenet prepare ... --force`"
PREPARE = "make one with `distlenet prepare mnist`"
PIECE = 2**22  # bytes read at a time: small enough for a slow disk to show progress

__all__ = ["BlockStream", "DigitFile", "open_digit_file", "write_digit_file"]


class DigitFile(Header):
    """An open dataset file; made by ``open_digit_file``, usable in ``with``. Its header's fields are attributes."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        super().__init__(**vars(read_header(file)))
        self.path = path
        self._file = file
        # contiguous bytes, read without HDF5: its one global lock would stop all threads while a disk is slow
        self._descriptor = file.id.get_vfd_handle()
        self._offsets = {name: file[name].id.get_offset() for name in DATASETS}

    def length(self, split: str) -> int:
        """Return the number of images of ``split`` ("train" or "test")."""
        if split not in self.lengths:
            raise DataError(f"{self.path} has no split {split!r}, expected one of {', '.join(SPLITS)}")
        return self.lengths[split]

    def read(self, split: str, start: int, stop: int, *, verify: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return rows ``start`` to ``stop - 1``: images uint8 (n, rows, columns), labels uint8 (n,).

        With ``verify`` the whole blocks of 1,000 rows around them are read once and compared with their stored
        digests. Raises DataError if rows are outside the split, a label has no class, a block is damaged, or the
        disk fails. Threads may read at the same time.
        """
        self._check_range(split, start, stop)
        if not verify:
            images, labels = self._rows(split, start, stop)
        else:
            first = start // BLOCK_ROWS * BLOCK_ROWS
            last = min(-(-stop // BLOCK_ROWS) * BLOCK_ROWS, self.length(split))
            images, labels = self._rows(split, first, last)
            self._check_digests(split, first, images, labels)
            images, labels = images[start - first : stop - first], labels[start - first : stop - first]
        wrong = labels >= len(self.class_names)  # (n,)
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"{self.path}: /{split}/labels row {start + row} is {labels[row]}, "
                f"expected 0 to {len(self.class_names) - 1}; {AGAIN}"
            )
        return images, labels

    def verify(self, split: str, start: int = 0, stop: int | None = None) -> None:
        """Check the digests of all blocks that overlap rows ``start`` to ``stop - 1`` (default: all).

        Holds one block in memory at a time. Raises DataError naming the first damaged block.
        """
        stop = self.length(split) if stop is None else stop
        self._check_range(split, start, stop)
        for row in range(start // BLOCK_ROWS * BLOCK_ROWS, stop, BLOCK_ROWS):
            block = self._rows(split, row, min(row + BLOCK_ROWS, self.length(split)))
            self._check_digests(split, row, *block)

    def close(self) -> None:
        """Close the file; its attributes stay valid, reading becomes an error."""
        self._descriptor = -1
        self._file.close()

    def __enter__(self) -> "DigitFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _rows(self, split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        images = np.empty((stop - start, *self.image_shape), np.uint8)
        labels = np.empty(stop - start, np.uint8)
        try:
            for part, rows in (("images", images), ("labels", labels)):
                _fill(rows, self._descriptor, self._offsets[f"{split}/{part}"] + start * rows.strides[0])
        except OSError as error:
            raise DataError(
                f"cannot read rows {start:,} to {stop - 1:,} of /{split} in {self.path}: {error.strerror}; "
                f"check the disk, or {AGAIN}"
            ) from error
        return images, labels

    def _check_range(self, split: str, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.length(split):
            raise DataError(
                f"rows {start} to {stop - 1} of /{split} were requested from {self.path}, "
                f"expected rows within 0 to {self.length(split) - 1}"
            )

    def _check_digests(self, split: str, first: int, images: np.ndarray, labels: np.ndarray) -> None:
        """Verify rows that start at the block boundary ``first``: images (n, rows, columns), labels (n,)."""
        found = block_digests(images, labels)
        block = first // BLOCK_ROWS
        wrong = (found != self.sums[split][block : block + len(found)]).any(axis=1)
        if wrong.any():
            row = first + int(wrong.argmax()) * BLOCK_ROWS
            last = min(row + BLOCK_ROWS, self.length(split)) - 1
            raise DataError(
                f"{self.path} is damaged: rows {row:,} to {last:,} of /{split} do not match their SHA-256; {AGAIN}"
            )


def _fill(rows: np.ndarray, descriptor: int, offset: int) -> None:
    """Fill ``rows`` (uint8, contiguous) with the bytes of an open file starting at ``offset``; raises OSError."""
    left = rows.reshape(-1).data
    while left:
        count = os.preadv(descriptor, [left[:PIECE]], offset)
        advance()
        if not count:
            raise OSError(errno.EIO, f"it now ends at or before byte {offset:,}")
        left, offset = left[count:], offset + count


def open_digit_file(path: str | os.PathLike[str]) -> DigitFile:
    """Open the dataset file ``path`` for reading; raises DataError, in one sentence, for every fault.

    Checks shapes, types, sizes and attributes, but not the images (``read(..., verify=True)`` and ``verify`` do).
    Any number of processes may have the file open.
    """
    path, file = Path(path), None
    try:
        file = open_hdf5(path)
        return DigitFile(path, file)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:  # all that h5py raises
        if file:
            file.close()
        raise DataError(_sentence(path, error)) from error


def _sentence(path: Path, error: Exception) -> str:
    """Return the sentence for ``error``, raised when the dataset file ``path`` was opened: the cause and the fix."""
    truncated = re.search(r"eof = (\d+).*stored_eof = (\d+)", str(error), re.DOTALL)
    match error:
        case FileNotFoundError():
            text = f"there is no dataset {path}; {PREPARE}"
        case NotHDF5Error():
            found = f"is not HDF5 but {kind_of(path)}" if "is not HDF5" in str(error) else f"{error}"
            text = f"{path} {found}, expected a dataset file (HDF5); {prepare_command(path)}"
        case AnotherKindError():
            text = f"{path} is an HDF5 file of another kind: {error}; {PREPARE}"
        case ForeignError():
            repack = ", or rewrite it with `h5repack -l CONTI -f NONE`" if "chunked" in str(error) else ""
            text = f"{path}: {error}; {AGAIN}{repack}"
        case BlockingIOError():
            text = (
                f"{path} is locked: another process is writing it, or the file system cannot lock; "
                "wait for that process, or set HDF5_USE_FILE_LOCKING=FALSE"
            )
        case OSError() if error.filename is not None:  # from the system, not from HDF5
            text = f"cannot open {path} ({(error.strerror or 'it cannot be read').lower()}); {AGAIN}"
        case _ if truncated:
            got, expected = map(int, truncated.groups())
            text = f"{path} is cut off: {got:,} bytes, expected {expected:,}; copy it again, or {AGAIN}"
        case _:
            line = (str(error).splitlines() or [type(error).__name__])[0]
            telling = re.search(r"\((.*)\)", line)  # the innermost parenthesis of the first line
            reason = telling[1] if telling else line.strip("'\"")
            text = f"{path} is damaged ({reason}); {AGAIN}"
    return text
