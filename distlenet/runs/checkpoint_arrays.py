"""The arrays of a checkpoint file from an untrusted source: checked before memory is allocated, then verified.

Only arrays with names of a checkpoint are read. Each is a plain dataset in the file itself, with as many numbers as
/theta, and together they are no larger than the file. So the memory is bounded by the needs of the network.
/parameters holds the numbers of /theta by name and shape. It is compared with /theta, but never held in memory.
"""

import hashlib
import math
import re
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from distlenet.activity import advance
from distlenet.bounded import MIB, parse_json
from distlenet.data.file.hdf5 import attribute, datasets
from distlenet.errors import CheckpointError
from distlenet.runs.checkpoint import LARGEST_META

PIECE = 4 * MIB  # numbers read at a time to verify an array without holding it
LARGEST_SUMS = 16 * MIB  # bytes of the list of checksums
MOST_PARAMETERS = 10_000  # arrays in /parameters
MOST_VECTORS = 20  # arrays of the length of theta: optimizer, best epoch, good state, parameters by name
OTHERS = 64 * MIB  # bytes of everything else in a file
VECTOR = re.compile(r"(good/)?(((?!parameters)\w+/)?theta|optimizer/[\w-]+)")
PARAMETER = re.compile(r"parameters/.{1,300}")
KNOWN = re.compile(f"{VECTOR.pattern}|{PARAMETER.pattern}")


class CheckpointArrays:
    """The arrays of the open ``file`` by name; ``meta`` holds its facts as JSON.

    Raises CheckpointError and ForeignError.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self._path, self._file = path, file
        self._found = datasets(file, ["theta", "meta"])
        theta, meta = self._found["theta"], self._found["meta"]
        if meta.dtype != np.uint8 or meta.size > LARGEST_META:
            raise CheckpointError(
                f"{path}: /meta is {meta.size:,} of {meta.dtype}, expected at most {LARGEST_META:,} bytes of JSON"
            )
        if theta.dtype != np.dtype("<f4") or theta.ndim != 1 or not theta.size:
            raise CheckpointError(f"{path}: /theta is {theta.shape} of {theta.dtype}, expected a vector of float32")
        self.size = int(theta.size)
        self.meta: bytes = meta[...].tobytes()
        self._sums: dict[str, str] = {}

    def check_meta(self) -> None:
        """Read the checksums and verify /meta."""
        path, largest = self._path, 4 * MOST_VECTORS * self.size + OTHERS
        if path.stat().st_size > largest:
            raise CheckpointError(
                f"{path} has {path.stat().st_size:,} bytes, more than the {largest:,} that a network of {self.size:,} "
                "parameters can need"
            )
        text = attribute(self._file, "sha256", LARGEST_SUMS)
        if not isinstance(text, str | bytes):
            raise CheckpointError(f"{path} has no list of checksums")
        self._sums = parse_json(text)
        self._verify("meta", hashlib.sha256(self.meta).hexdigest())

    def check(self) -> None:
        """Check the names, types, shapes and sizes of all arrays, and verify /meta."""
        path = self._path
        self.check_meta()
        known = [name for name in self._sums if KNOWN.fullmatch(name)]
        if len(known) > MOST_PARAMETERS + MOST_VECTORS or len(self.vectors) > MOST_VECTORS:
            raise CheckpointError(f"{path} has {len(known):,} arrays, more than any checkpoint")
        if strange := sorted(self._sums.keys() - {"meta", *known}):
            raise CheckpointError(f"{path}: a checkpoint has no array {strange[0]!r:.200}")
        self._found = datasets(self._file, self._sums)
        for name, array in self._found.items():
            expected = array.shape if PARAMETER.fullmatch(name) else (self.size,)
            if name != "meta" and (array.dtype != np.dtype("<f4") or array.shape != expected):
                raise CheckpointError(
                    f"{path}: /{name} is {array.shape} of {array.dtype}, expected {expected} of float32"
                )
        total = sum(map(math.prod, self.shapes.values()))
        if self.shapes and total != self.size:
            raise CheckpointError(f"{path}: /parameters has {total:,} numbers, /theta {self.size:,}: expected as many")

    @property
    def vectors(self) -> list[str]:
        """The names of all arrays of the length of theta."""
        return [name for name in self._sums if VECTOR.fullmatch(name)]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of /parameters by name, "C1/W", in the order of theta; empty if the file has none."""
        names = [name for name in self._sums if PARAMETER.fullmatch(name)]
        return {name.removeprefix("parameters/"): self._found[name].shape for name in names}

    def read(self, name: str, mapped: bool = False) -> np.ndarray:
        """Return the array ``name`` (parameters,) float32, verified; if ``mapped``, as a read-only memory map."""
        dataset = self._found[name]
        offset = dataset.id.get_offset() if mapped else None
        array = dataset[...] if offset is None else np.memmap(self._path, "<f4", "r", offset, dataset.shape)
        self._verify(name, hashlib.sha256(array.data).hexdigest())
        advance()
        return array

    def verify(self, name: str) -> None:
        """Verify the array ``name`` piece by piece, without holding it in memory."""
        found = hashlib.sha256()
        for piece in _pieces(self._found[name]):
            found.update(piece.data)
        self._verify(name, found.hexdigest())

    def verify_parameters(self, theta: "np.ndarray | h5py.Dataset | None" = None) -> None:
        """Verify /parameters, and that its numbers are those of ``theta`` (default: the file's)."""
        theta, start = self._found["theta"] if theta is None else theta, 0
        for name in self.shapes:
            found, same = hashlib.sha256(), True
            for piece in _pieces(self._found[f"parameters/{name}"]):
                found.update(piece.data)
                here = theta[start : start + piece.size]
                same = same and np.array_equal(here.view(np.uint32), piece.reshape(-1).view(np.uint32))
                start += piece.size
            self._verify(f"parameters/{name}", found.hexdigest())
            if not same:
                raise CheckpointError(f"{self._path}: /parameters/{name} differs from its part of /theta")

    def _verify(self, name: str, found: str) -> None:
        if self._sums.get(name) != found:
            raise CheckpointError(f"{self._path} is damaged: /{name} does not match its SHA-256")


def _pieces(array: h5py.Dataset) -> Iterator[np.ndarray]:
    """Yield the numbers of ``array`` in order, some rows at a time."""
    if not array.shape:
        yield array[...]
        return
    rows = max(1, PIECE // max(1, math.prod(array.shape[1:])))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]
        advance()
