"""Reads numpy archives (.npz: a zip of .npy files) without numpy's loader: nothing is ever unpickled.

An untrusted archive may claim any size, name one array many times, or contain a directory or header of gigabytes. The
sizes of the directory, of each header, and of all requested arrays together are therefore bounded.
"""

import ast
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distlenet.data.file.kind import kind_of
from distlenet.data.sources.unpacking import RATIO, check_regular, most_unpacked
from distlenet.errors import DataError

LONGEST_HEADER = 4096  # bytes; an array of numbers needs 128
LONGEST_DIRECTORY = 2**20  # bytes; ten thousand arrays
MOST_DIMENSIONS = 5
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others can unpack a few bytes to gigabytes


@dataclass(frozen=True)
class Header:
    """The header of a .npy file."""

    shape: tuple[int, ...]
    dtype: np.dtype
    by_columns: bool

    @property
    def size(self) -> int:
        """Size of the numbers in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


class Archive:
    """An archive open for reading; usable in ``with``."""

    def __init__(self, path: Path) -> None:
        """Open ``path``; raises DataError, or OSError if it cannot be read."""
        check_regular(path)
        self.path = path
        self.size = path.stat().st_size
        self._file = _Guarded(io.FileIO(path))
        try:
            with _one_sentence(path):
                self._zip = zipfile.ZipFile(self._file)
            if odd := [name for name in self._zip.namelist() if not name.isprintable() or len(name) > 200]:
                raise DataError(f"{path} holds an array called {odd[0][:40]!r}, expected names that can be printed")
        except DataError:
            self._file.close()
            raise
        self._members = {info.filename.removesuffix(".npy"): info for info in self._zip.infolist()}

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()
        self._file.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of everything in the archive."""
        return tuple(self._members)

    def header(self, name: str) -> Header:
        """Return the header of the array ``name``; raises DataError unless it is an array of numbers."""
        with _one_sentence(self.path), self._zip.open(self._member(name)) as file:
            return _header(file.read, f"{name} in {self.path}")

    def arrays(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Return the arrays ``names``, by name; raises DataError, also if they are too large together."""
        headers = {name: self.header(name) for name in names}
        claimed = sum(header.size for header in headers.values())
        if claimed > most_unpacked(self.size):
            raise DataError(
                f"the arrays {', '.join(headers)} in {self.path} claim {claimed:,} bytes, more than {RATIO} times the "
                f"file's {self.size:,}, too many for images; if you trust it, save it without compression (np.savez)"
            )
        return {name: self._array(name, header) for name, header in headers.items()}

    def _array(self, name: str, header: Header) -> np.ndarray:
        where = f"{name} in {self.path}"
        fault = f"does not have the {header.size:,} bytes that its header claims; get the file again"
        if header.size > self._member(name).file_size:
            raise DataError(f"{where} {fault}")
        with _one_sentence(self.path), self._zip.open(self._member(name)) as file:
            _header(file.read, where)
            content = bytearray()
            while piece := file.read(min(LONGEST_DIRECTORY, header.size - len(content))):
                content += piece
            if len(content) < header.size or file.read(1):
                raise DataError(f"{where} {fault}")
            numbers = np.frombuffer(content, header.dtype)
            return numbers.reshape(header.shape, order="F" if header.by_columns else "C")

    def _member(self, name: str) -> zipfile.ZipInfo:
        member = self._members[name]
        if member.compress_type not in PACKINGS:
            raise DataError(f"{name} in {self.path} is not packed by a method of numpy: save it with np.savez")
        return member


class _Guarded(io.BufferedReader):
    """A file that limits each read to the size of a normal zip directory: zipfile would read any directory at once."""

    def read(self, size: int | None = -1) -> bytes:
        """Read up to ``size`` bytes; raises BadZipFile if there are too many."""
        data = super().read(LONGEST_DIRECTORY if size is None or size < 0 else min(size, LONGEST_DIRECTORY + 1))
        if len(data) > LONGEST_DIRECTORY:
            raise zipfile.BadZipFile(f"its directory has more than {LONGEST_DIRECTORY:,} bytes")
        return data


@contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    """Turn the errors of zipfile and zlib on damaged archives into a DataError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, RuntimeError, ValueError) as error:
        kind = kind_of(path)
        if kind.startswith(("a zip archive", "a numpy archive")):
            reason = "its end is missing" if "not a zip file" in str(error) else error
            raise DataError(f"{path} is damaged: {reason}; get the file again") from error
        advice = "; save images and labels in one archive with np.savez" if "numpy" in kind else ""
        raise DataError(f"{path} is {kind}, expected a numpy archive (.npz){advice}") from error


def _header(read: Callable[[int], bytes], where: str) -> Header:
    """Read the header of a .npy file: its magic, its version, its length, then a Python dictionary as text."""
    start = read(8)
    lengths = {b"\x93NUMPY\x01\x00": "<H", b"\x93NUMPY\x02\x00": "<I", b"\x93NUMPY\x03\x00": "<I"}
    if start not in lengths:
        raise DataError(f"{where} is not a numpy array (.npy) of version 1 to 3: it starts with {start.hex(' ')}")
    form = lengths[start]
    length = int.from_bytes(read(struct.calcsize(form)), "little")
    text = read(length) if length <= LONGEST_HEADER else b""
    try:
        facts = ast.literal_eval(text.decode("latin-1"))
        shape, by_columns = facts["shape"], facts["fortran_order"]
        dtype = np.dtype(facts["descr"]) if type(facts["descr"]) is str else None
    except (ValueError, TypeError, LookupError, SyntaxError, RecursionError, MemoryError) as error:
        raise DataError(
            f"{where} has no readable header, expected a numpy array; save it again with np.savez"
        ) from error
    if dtype is None:
        raise DataError(f"{where} is a structured array, of several named fields, expected one array of numbers")
    if dtype.kind not in "buifcSUO":
        raise DataError(f"{where} holds {dtype}, expected numbers")
    if dtype.kind == "O":
        raise DataError(f"{where} holds Python objects, like arrays of mixed sizes; expected one array of numbers")
    if type(shape) is not tuple or len(shape) > MOST_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise DataError(f"{where} has the shape {f'{shape!r}':.80}, expected at most {MOST_DIMENSIONS} dimensions")
    return Header(shape, dtype, bool(by_columns))
