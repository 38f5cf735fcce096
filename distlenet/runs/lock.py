"""The file ``lock`` of a run directory: it keeps other processes out during a run, and marks the directory as a run's.

    process 4711 on node3           the last process that locked it; the system releases the lock when it ends
    distlenet run directory
    state replacing                 optional notes, see JOB and STATE

Each run replaces the file instead of writing to it, so the file may belong to another user.
"""

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from distlenet.bounded import head, open_regular
from distlenet.errors import RunDirectoryError

MARK = "distlenet run directory"
HOLDER = re.compile(rb"process \d+ on [^\n]{1,200}(\n|$)")  # older versions wrote only this line
ATTEMPTS = 50
# names of notes: the job of `distlenet launch` that started the run, and its private folder; the current activity
JOB, DOOR, STATE = "job", "door", "state"
# values of STATE until the run starts: removing an old run, copying a checkpoint from elsewhere, making a new run
REPLACING, COPYING, PREPARING = "replacing", "copying", "preparing"


class Lock:
    """A lock that this process holds until it closes it or ends."""

    def __init__(self, path: Path) -> None:
        """Take the lock ``path``; raises RunDirectoryError if another process holds it, OSError."""
        self.path = path
        for _ in range(ATTEMPTS):
            earlier, made = _open(path)
            try:
                fcntl.flock(earlier, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _is_at(earlier, path):
                    continue  # another process has just replaced it
                self.notes = notes(path)
                self._descriptor = self._replace()
            except BlockingIOError:
                holder = os.read(earlier, 300).decode(errors="replace").partition("\n")[0].strip()
                raise RunDirectoryError(
                    f"{path.parent} is in use by another run ({holder or 'unknown process'}): wait for it, or choose "
                    "another --run"
                ) from None
            except OSError:
                if made:
                    path.unlink(missing_ok=True)
                raise
            else:
                return
            finally:
                os.close(earlier)
        raise RunDirectoryError(f"{path.parent} is in use: other processes keep starting runs in it")

    def _replace(self) -> int:
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
        descriptor = open_regular(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write(descriptor)
            os.replace(temporary, self.path)
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        return descriptor

    def _write(self, descriptor: int) -> None:
        lines = [f"process {os.getpid()} on {os.uname().nodename}", MARK]
        lines += [f"{name} {value}".strip() for name, value in self.notes.items()]
        content = "".join(f"{line}\n" for line in lines).encode()
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)

    def note(self, **values: str) -> None:
        """Replace all notes by ``values``. Raises OSError."""
        if values != self.notes:
            self.notes = values
            self._write(self._descriptor)

    @property
    def is_there(self) -> bool:
        """Whether the locked file still exists under its name; raises OSError."""
        return _is_at(self._descriptor, self.path)

    def close(self) -> None:
        """Release the lock if it is held."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@contextlib.contextmanager
def undisturbed(path: Path) -> Iterator[None]:
    """Keep runs out of the directory of the lock file ``path`` during the block, without writing to it.

    Raises RunDirectoryError if a run is in progress, or the file cannot be read. Without the file there is no run.
    """
    try:
        descriptor = open_regular(path)
    except FileNotFoundError:
        yield
        return
    except OSError as error:
        raise RunDirectoryError(f"cannot read {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise RunDirectoryError(f"the run in {path.parent} is in progress: wait until it has ended") from None
    finally:
        os.close(descriptor)


def is_mark(path: Path) -> bool:
    """Whether the file ``path`` marks a run directory."""
    return HOLDER.match(head(path, 300) or b"") is not None


def notes(path: Path) -> dict[str, str]:
    """Return the notes in the lock file ``path``, empty if it does not exist."""
    lines = (head(path, 2000) or b"").decode(errors="replace").splitlines()
    return dict(line.partition(" ")[::2] for line in lines[2:]) if lines[1:2] == [MARK] else {}


def _open(path: Path) -> tuple[int, bool]:
    """Open the lock file, or create it; returns its descriptor, and whether it was created."""
    with contextlib.suppress(FileNotFoundError):
        return _open_existing(path), False
    with contextlib.suppress(FileExistsError):
        return open_regular(path, os.O_RDWR | os.O_CREAT | os.O_EXCL), True
    return _open_existing(path), False


def _open_existing(path: Path) -> int:
    try:
        return open_regular(path, os.O_RDWR)  # NFS does not lock a file that is open only for reading
    except FileNotFoundError:
        raise
    except OSError:  # not writable: it belongs to another user, or has a second hard link
        return open_regular(path)


def _is_at(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False
