"""The IDX format of MNIST: a small header, then the numbers; plain or in gzip.

Header: two zero bytes, a type code, the number of dimensions, then each dimension as a big-endian
32-bit integer. Source: Yann LeCun's MNIST page, "the IDX file format".
"""

import gzip
import hashlib
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from distlenet.errors import DataError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CODES = {np.dtype(type_): code for code, type_ in TYPES.items()}
LARGEST = 2**32  # bytes of numbers in one file
# Deflate makes data at most 1,032 times smaller (zlib's documentation), so a header that claims more than
# that times the size of the .gz is a lie, found before memory is taken.
LARGEST_RATIO = 1032


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the array of an IDX file, plain or gzip (told by its first bytes, not by its name).

    The header is checked against the real size before memory is taken. Raises DataError: missing,
    another format, cut off, bytes after the end, damaged gzip.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                return _read(file, path, size, packed)
            with gzip.open(file) as unpacked:
                return _read(unpacked, path, size, packed)
    except FileNotFoundError as error:
        raise DataError(f"there is no IDX file {path}") from error
    except EOFError as error:
        raise DataError(f"{path} is cut off: the gzip data ends too early; get the file again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}; get the file again") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def write_idx(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write ``array`` (uint8 or another IDX type, 1 to 4 dimensions); gzip if ``path`` ends in .gz."""
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "wb") as file:
        file.write(_header(array))
        file.write(np.ascontiguousarray(array, array.dtype.newbyteorder(">")).tobytes())


def idx_sha256(array: np.ndarray) -> str:
    """Return the SHA-256, in hexadecimal, of the plain IDX file that holds the uint8 ``array``."""
    digest = hashlib.sha256(_header(array))
    digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _header(array: np.ndarray) -> bytes:
    code = CODES[array.dtype.newbyteorder(">")]
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)


def _read(file: BinaryIO, path: Path, file_size: int, packed: bool) -> np.ndarray:
    start = _exactly(file, 4, path)
    zeros, code, rank = struct.unpack(">HBB", start)
    if zeros or code not in TYPES or not 1 <= rank <= 4:
        raise DataError(
            f"{path} is not an IDX file: it starts with {start.hex(' ')}, expected 00 00, a type and 1 to 4 "
            "dimensions (MNIST images: 00 00 08 03)"
        )
    shape = struct.unpack(f">{rank}I", _exactly(file, 4 * rank, path))
    size = math.prod(shape) * np.dtype(TYPES[code]).itemsize
    header = 4 + 4 * rank
    if packed:
        if size > LARGEST or size > LARGEST_RATIO * file_size:
            raise DataError(
                f"{path}: the header says {shape}, {size:,} bytes, "
                f"more than {file_size:,} bytes of gzip can hold; get the file again"
            )
    elif header + size != file_size:
        fault = "is cut off" if file_size < header + size else "has bytes after its end"
        raise DataError(
            f"{path} {fault}: {file_size:,} bytes, expected {header + size:,} for {shape}; get the file again"
        )
    array = np.empty(shape, TYPES[code])
    rest = memoryview(array.reshape(-1).view(np.uint8))  # (size,)
    while rest:
        count = file.readinto(rest)
        if not count:
            raise DataError(
                f"{path} is cut off: {size - rest.nbytes:,} bytes of numbers, expected {size:,} for {shape}; "
                "get the file again"
            )
        rest = rest[count:]
    if file.read(1):  # for gzip this also reads and compares the checksum at the end
        raise DataError(f"{path} has bytes after its end: expected {size:,} bytes of numbers for {shape}")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _exactly(file: BinaryIO, count: int, path: Path) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise DataError(f"{path} is cut off in its header: it is too short for an IDX file; get it again")
    return data
