"""The file ``lock`` of a run directory: it keeps others out while a run is on, and marks the directory as a run's.

    process 4711 on node3           who locked it last; the lock itself is the system's, and ends with the process
    distlenet run directory
    state replacing                 optional: notes, see JOB and STATE

It is never written in place but replaced by each run that takes it, so it may belong to a colleague.
"""

import contextlib
import fcntl
import os
import re
import secrets
from pathlib import Path

from distlenet.bounded import head, open_regular
from distlenet.errors import RunDirectoryError

MARK = "distlenet run directory"
HOLDER = re.compile(rb"process \d+ on [^\n]{1,200}(\n|$)")  # the whole file, where an older version wrote it
ATTEMPTS = 50
JOB, STATE = "job", "state"  # what is noted: the job of `distlenet launch` whose run this is; what is being done
REPLACING, COPYING, PREPARING = "replacing", "copying", "preparing"  # by STATE, until the run starts: removing an old
# run; copying a checkpoint here from elsewhere; making a new run


class Lock:
    """A lock that this process holds until it closes it, or ends."""

    def __init__(self, path: Path) -> None:
        """Take the lock ``path``; raises RunDirectoryError if another process has it, OSError."""
        self.path = path
        for _ in range(ATTEMPTS):
            earlier, made = _open(path)
            try:
                fcntl.flock(earlier, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _is_at(earlier, path):
                    continue  # another process has replaced it in between
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
        raise RunDirectoryError(f"{path.parent} is in use: other runs are being started in it all the time")

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
        """Replace the notes by these. Raises OSError."""
        if values != self.notes:
            self.notes = values
            self._write(self._descriptor)

    @property
    def is_there(self) -> bool:
        """Whether the file that is locked still has its name; raises OSError."""
        return _is_at(self._descriptor, self.path)

    def close(self) -> None:
        """Lift the lock, if it is held."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def is_mark(path: Path) -> bool:
    """Whether the file ``path`` marks a run directory."""
    return HOLDER.match(head(path, 300) or b"") is not None


def notes(path: Path) -> dict[str, str]:
    """Return what is noted in the lock file ``path``, nothing if there is none."""
    lines = (head(path, 2000) or b"").decode(errors="replace").splitlines()
    return dict(line.partition(" ")[::2] for line in lines[2:]) if lines[1:2] == [MARK] else {}


def _open(path: Path) -> tuple[int, bool]:
    """Open the lock file; returns its descriptor, and whether it was made."""
    with contextlib.suppress(FileNotFoundError):
        return _open_existing(path), False
    with contextlib.suppress(FileExistsError):
        return open_regular(path, os.O_RDWR | os.O_CREAT | os.O_EXCL), True
    return _open_existing(path), False


def _open_existing(path: Path) -> int:
    try:
        return open_regular(path, os.O_RDWR)  # NFS locks nothing that is open for reading alone
    except FileNotFoundError:
        raise
    except OSError:  # a colleague's, or one with a second name: it is not written to
        return open_regular(path)


def _is_at(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False
