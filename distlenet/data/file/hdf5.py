"""HDF5 files: opening untrusted ones safely, and writing new ones so that a full disk raises an error.

Only plain numbers inside the file itself are read. Soft and external links, external files, compressed and virtual
data are refused before anything is opened or memory is allocated. Several names may refer to the same bytes, so the
total size of everything read is limited to the size of the file.

If a write fails, HDF5 cannot close its file: h5py then raises at random places, and HDF5 2.0 ends the process with a
segmentation fault (tried with a limit on the size of files). HDF5 therefore never sees the failure: it writes through a
Python object that keeps the first error and discards all later bytes.

HDF5 locks its files; ``try_locks`` tests whether locks work in a folder.
"""

import fcntl
import io
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from distlenet.bounded import kind

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

SIGNATURE = b"\x89HDF\r\n\x1a\n"
LARGE = 2**28  # bytes: larger files must not consist mostly of holes
SPARSE = 20  # a file this many times larger than its space on disk: no file system compresses parameters that well
NUMBERS = (h5py.h5t.INTEGER, h5py.h5t.FLOAT)
KINDS = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}


class ForeignError(ValueError):
    """An HDF5 file is refused; the text gives the reason without the path of the file."""


class NotHDF5Error(ForeignError):
    """A file that is not opened because it cannot be HDF5."""


def open_hdf5(path: str | os.PathLike[str]) -> h5py.File:
    """Open the HDF5 file ``path`` for reading; raises NotHDF5Error or OSError.

    A directory, a named pipe or a device is refused before it is opened, since opening one can block forever.
    """
    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise NotHDF5Error(f"is not a file but {kind(path, follow_links=True)}")
    on_disk = 512 * status.st_blocks  # 0 on file systems that do not report it
    if status.st_size > LARGE and 0 < on_disk < status.st_size // SPARSE:
        raise NotHDF5Error(f"claims {status.st_size:,} bytes, but only {on_disk:,} are on disk: the rest is a hole")
    with path.open("rb") as file:
        start = file.read(len(SIGNATURE))
    if start != SIGNATURE:
        raise NotHDF5Error(f"is not HDF5: it starts with {start!r}" if start else "is empty")
    # a read-only file needs no lock: take one if the file system supports it, else continue without
    return h5py.File(path, "r", locking="best-effort")


def datasets(file: h5py.File, names: Iterable[str]) -> dict[str, h5py.Dataset]:
    """Return the datasets ``names`` (paths such as "train/images"), checked so that reading their rows is safe.

    Each holds integers or floats, uncompressed and contiguous inside ``file``, and together they are no larger than
    the file. Raises ForeignError naming the first that is missing or different.
    """
    size = os.path.getsize(file.filename)
    found = {name: _dataset(file, name, size) for name in names}
    claimed = sum(dataset.size * dataset.dtype.itemsize for dataset in found.values())
    if claimed > size:
        raise ForeignError(f"its arrays claim {claimed:,} bytes, more than the {size:,} bytes of the file")
    return found


def attribute(file: h5py.File, name: str, largest: int) -> str | bytes | np.generic | None:
    """Return the root's attribute ``name``, one number or text of up to ``largest`` bytes; None if missing.

    Raises ForeignError if it is anything else.
    """
    if name not in file.attrs:
        return None
    stored = file.attrs.get_id(name)
    kind = stored.get_type()
    if stored.get_space().get_simple_extent_type() != h5py.h5s.SCALAR:
        raise ForeignError(f"the attribute {name} is an array, expected a single value")
    if kind.get_class() not in (*NUMBERS, h5py.h5t.STRING):
        raise ForeignError(f"the attribute {name} is neither a number nor text")
    if stored.get_storage_size() > largest:
        raise ForeignError(
            f"the attribute {name} has {stored.get_storage_size():,} bytes, expected at most {largest:,}"
        )
    value = file.attrs[name]
    if isinstance(value, str) and len(value) > largest:  # text of variable length, at most as long as the file
        raise ForeignError(f"the attribute {name} has {len(value):,} characters, expected at most {largest:,}")
    return value


def missing_or_linked(file: h5py.File, name: str) -> str:
    """Return "" if ``name`` is reached by hard links, else the fault: "/a is missing", "/a is an external link" ...

    Each part of the path may be a link, so they are checked one by one; no link is opened.
    """
    group = file
    parts = name.split("/")
    for count, part in enumerate(parts, 1):
        here = "/" + "/".join(parts[:count])
        if not isinstance(group, h5py.Group) or not part or not group.id.links.exists(part.encode()):
            return f"/{name} is missing"
        link = group.id.links.get_info(part.encode()).type
        if link != h5py.h5l.TYPE_HARD:
            return f"{here} is {KINDS.get(link, 'a link of an unknown kind')}"
        if count < len(parts):
            group = group[part]
    return ""


def _dataset(file: h5py.File, name: str, file_size: int) -> h5py.Dataset:
    if fault := missing_or_linked(file, name):
        raise ForeignError(f"{fault}, expected an array in the file itself")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise ForeignError(f"/{name} is not a dataset, expected numbers")
    if dataset.id.get_type().get_class() not in NUMBERS:
        raise ForeignError(f"/{name} holds data that are not numbers")
    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL or plan.get_external_count():
        raise ForeignError(f"/{name} is stored in other files, expected the data itself")
    if plan.get_layout() == h5py.h5d.CHUNKED:
        raise ForeignError(f"/{name} is chunked or compressed, expected contiguous data")
    if dataset.shape is None:
        raise ForeignError(f"/{name} has no shape, expected an array")
    offset, size = dataset.id.get_offset(), dataset.size * dataset.dtype.itemsize
    compact = plan.get_layout() == h5py.h5d.COMPACT  # in the header: HDF5 allows at most 64 KB
    if size and not compact and (offset is None or offset + size > file_size):
        raise ForeignError(f"/{name} claims {size:,} bytes that are not in the file of {file_size:,} bytes")
    return dataset


@contextmanager
def hdf5_to(
    raw: io.FileIO | io.BytesIO, libver: str | tuple[str, str]
) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Yield a new HDF5 file in the format ``libver`` that is written to ``raw``, and a function ``check``.

    ``check()`` raises the OSError of a failed write, so that long work can stop early. It is always called at the end.
    """
    sink = _Sink(raw)
    with h5py.File(sink, "w", libver=libver) as file:
        yield file, sink.check
    sink.check()


class _Sink(io.RawIOBase):
    """The file that HDF5 sees; it keeps the first error of ``raw`` instead of raising it."""

    def __init__(self, raw: io.FileIO | io.BytesIO) -> None:
        self.raw = raw
        self.error: OSError | None = None

    def check(self) -> None:
        """Raise the first error, if any."""
        if self.error:
            raise self.error

    def write(self, data: "ReadableBuffer") -> int:
        """Write ``data``, unless a write has failed; in any case report it as written."""
        whole = left = memoryview(data)
        while left and not self.error:
            try:
                left = left[self.raw.write(left) :]
            except OSError as error:
                self.error = error
        return len(whole)

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file."""
        try:
            return self.raw.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read into ``buffer``; bytes that were never written are zeros."""
        view = memoryview(buffer)
        count = self.raw.readinto(view)
        view[count:] = bytes(len(view) - count)
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to ``offset``."""
        return self.raw.seek(offset, whence)


def existing_folder(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` if it is a folder, else the nearest existing folder above it."""
    path = Path(path).absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def try_locks(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Lock a temporary file in ``folder`` twice, by flock and by HDF5.

    Returns {"flock": ..., "hdf5": ...}: "works", or the fault.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".distlenet-doctor-", dir=folder) as trial:
            return {"flock": _try_flock(Path(trial) / "lock"), "hdf5": _try_hdf5(Path(trial) / "trial.h5")}
    except OSError as error:
        reason = f"no file can be written: {error.strerror or error}"
        return {"flock": reason, "hdf5": reason}


def _try_flock(path: Path) -> str:
    first = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    second = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "works"
    except OSError as error:
        return f"fails: {error.strerror}"
    finally:
        os.close(first)
        os.close(second)
    return "is ignored: two holders at once"


def _try_hdf5(path: Path) -> str:
    if os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() in ("FALSE", "0"):
        return "is turned off by HDF5_USE_FILE_LOCKING"
    try:
        # within one process HDF5 would share the file, so the second holder uses a plain flock
        with h5py.File(path, "w", locking=True), open(path, "rb") as second:
            fcntl.flock(second, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "works"
    except OSError as error:
        return f"fails: {error.strerror or error}"
    return "is ignored: two holders at once"
