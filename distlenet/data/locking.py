"""Whether a folder's file system has locks that work: flock, which keeps a run directory to one run, and HDF5's."""

import fcntl
import os
import tempfile
from pathlib import Path

import h5py


def existing_folder(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` if it is a folder, else the nearest one above it, where it would be made."""
    path = Path(path).absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def try_locks(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Lock a temporary file in ``folder`` twice, by flock and by HDF5.

    Returns {"flock": ..., "hdf5": ...}: "works", or what went wrong.
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
        # within one process HDF5 itself would share the file, so the second holder is a plain flock
        with h5py.File(path, "w", locking=True), open(path, "rb") as second:
            fcntl.flock(second, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "works"
    except OSError as error:
        return f"fails: {error.strerror or error}"
    return "is ignored: two holders at once"
