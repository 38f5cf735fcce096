"""The IDX format of MNIST: a small header followed by the numbers; plain or gzip.

Header: two zero bytes, a type code, the number of dimensions, then each dimension as a big-endian
32-bit integer. Source: Yann LeCun's MNIST page, "the IDX file format".
"""

import hashlib
import math
import os
import struct
from io import BufferedReader
from pathlib import Path

import numpy as np

from distlenet.data.file.kind import kind_of
from distlenet.data.sources.unpacking import ADVICE, PLENTY, Gunzip, most_unpacked, open_unpacked, readable
from distlenet.errors import DataError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CODES = {np.dtype(type_): code for code, type_ in TYPES.items()}


def read_idx(path: str | os.PathLike[str], plenty: int = PLENTY) -> np.ndarray:
    """Return the array of an IDX file, plain or gzip (recognised by its first bytes, not by its name).

    The header is checked against the real size before memory is allocated. For ``plenty`` see most_unpacked. Raises
    DataError if the file is missing, in another format, cut off, damaged, or has bytes after its end.
    """
    path = Path(path)
    with readable(path, "an IDX file"), open_unpacked(path, plenty) as file:
        return _read(file, path, plenty)


def idx_sha256(array: np.ndarray) -> str:
    """Return the SHA-256, in hexadecimal, of the plain IDX file that holds the uint8 ``array``."""
    digest = hashlib.sha256(idx_header(array))
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def idx_header(array: np.ndarray) -> bytes:
    """Return the header of the IDX file that holds ``array``."""
    code = CODES[array.dtype.newbyteorder(">")]
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)


def _read(file: BufferedReader, path: Path, plenty: int) -> np.ndarray:
    start = _exactly(file, 4, path)
    zeros, code, rank = struct.unpack(">HBB", start)
    if zeros or code not in TYPES or not 1 <= rank <= 4:
        kind = kind_of(path)
        raise DataError(
            f"{path} is {kind}, not an IDX file"
            if "IDX" not in kind and "unknown" not in kind
            else f"{path} is not an IDX file: it starts with {start.hex(' ')}, expected 00 00, a type and 1 to 4 "
            "dimensions (MNIST images: 00 00 08 03)"
        )
    shape = struct.unpack(f">{rank}I", _exactly(file, 4 * rank, path))
    size = math.prod(shape) * np.dtype(TYPES[code]).itemsize
    header, file_size = 4 + 4 * rank, path.stat().st_size
    if isinstance(file.raw, Gunzip):
        if size > most_unpacked(file_size, plenty):
            raise DataError(
                f"{path}: the header says {shape}, {size:,} bytes, "
                f"more than {file_size:,} bytes of gzip can hold; get the file again, or {ADVICE}"
            )
    elif header + size != file_size:
        fault = "is cut off" if file_size < header + size else "has bytes after its end"
        raise DataError(
            f"{path} {fault}: {file_size:,} bytes, expected {header + size:,} for {shape}; get the file again"
        )
    content = file.read(size)
    if len(content) < size:
        raise DataError(
            f"{path} is cut off: {len(content):,} bytes of numbers, expected {size:,} for {shape}; get the file again"
        )
    if file.read(1):  # for gzip this also verifies the checksum at the end
        raise DataError(f"{path} has bytes after its end: expected {size:,} bytes of numbers for {shape}")
    array = np.frombuffer(content, TYPES[code]).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _exactly(file: BufferedReader, count: int, path: Path) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise DataError(f"{path} is cut off in its header: it is too short for an IDX file; get it again")
    return data
