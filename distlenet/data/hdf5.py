"""Create an HDF5 file so that a full disk is an error like any other.

When a write fails, HDF5 cannot close its file: h5py then raises at random places, and HDF5 2.0 ends the
process with a segmentation fault (tried with a limit on the size of files). So HDF5 never learns of it:
it writes through a Python object that keeps the first error and takes the rest of the bytes nowhere.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import h5py

from distlenet.data.atomic import replacing


@contextmanager
def new_hdf5_file(path: str | os.PathLike[str]) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Give a new HDF5 file that becomes ``path`` as a whole when the body ends, and a function ``check``.

    ``check()`` raises the OSError of a write that failed, so that long work can stop early; it is called
    at the end in any case. After an error ``path`` is as it was.
    """
    with replacing(path) as temporary, open(temporary, "x+b", buffering=0) as raw:
        sink = _Sink(raw)
        # The 1.8 format: its headers carry checksums (the older default has none) and every HDF5 library
        # since 2008 reads it.
        with h5py.File(sink, "w", libver=("v108", "v108")) as file:
            yield file, sink.check
        sink.check()


class _Sink(io.RawIOBase):
    """The file that HDF5 sees; it keeps the first error of ``raw`` to itself."""

    def __init__(self, raw: io.FileIO) -> None:
        self.raw = raw
        self.error: OSError | None = None

    def check(self) -> None:
        """Raise the first error there was, if any."""
        if self.error:
            raise self.error

    def write(self, data: memoryview) -> int:
        """Write all of ``data`` or nothing more at all; either way say that it was written."""
        left = memoryview(data)
        while left and not self.error:
            try:
                left = left[self.raw.write(left) :]
            except OSError as error:
                self.error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file."""
        try:
            return self.raw.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def readinto(self, buffer: memoryview) -> int:
        """Read into ``buffer``; what was never written is zeros."""
        view = memoryview(buffer)
        count = self.raw.readinto(view)
        view[count:] = bytes(len(view) - count)
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to ``offset``."""
        return self.raw.seek(offset, whence)
