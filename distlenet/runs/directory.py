"""The run directory: config.toml, journal.jsonl, checkpoints/, summary.json; one run at a time.

The file ``lock`` marks it. A directory without it is used only if it is empty, or if all its files are recognised as a
run's. Other files may be added to a marked directory; they stay.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distlenet import atomic
from distlenet.atomic import why_not_written
from distlenet.bounded import is_real_directory, kind
from distlenet.errors import RunDirectoryError
from distlenet.runs import ours
from distlenet.runs.lock import COPYING, DOOR, JOB, PREPARING, REPLACING, STATE, Lock, is_mark, notes
from distlenet.runs.timeline import NAME

NAMED = 4  # number of unexpected entries that an error names


def listed(names: list[str]) -> str:
    """Return the first NAMED of ``names`` for a sentence, and the number of the others."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(map(repr, names[:NAMED]))}{more}"


@contextmanager
def able_to(do: str) -> Iterator[None]:
    """Turn an OSError in the block into a RunDirectoryError "cannot ``do``", for example "read the run directory"."""
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(f"cannot {do}: {why_not_written(error)}") from error


class RunDirectory:
    """The files of one run, only for reading."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.journal = self.path / "journal.jsonl"
        self.summary = self.path / "summary.json"

    def check(self) -> None:
        """Raise RunDirectoryError unless a run may write here; changes nothing.

        The directory itself may be a symbolic link, but links in it are refused.
        """
        with able_to(f"read the run directory {self.path}"):
            if not self.path.is_dir():
                return  # it does not exist yet; if it is a file, making the directory will fail
            if not is_mark(self.path / "lock") and (found := ours.foreign_entries(self.path)):
                raise RunDirectoryError(
                    f"{self.path} is not a run directory: it has {listed(found)}, which no run wrote; choose another "
                    f"directory, for example --run {self.path / 'run'}"
                )
            self._check_names()

    def _check_names(self) -> None:
        """Raise RunDirectoryError unless entries named like a run's files are real files and directories."""
        for name in (*ours.FILES, *ours.FOLDERS):
            path, expected = self.path / name, "a file" if name in ours.FILES else "a directory"
            found = kind(path)
            if found not in (None, expected):
                raise RunDirectoryError(
                    f"{path} is {found}, expected {expected}: links and special files in a run directory are refused; "
                    "remove it, or choose another --run"
                )
        if kind(self.path / "lock") and not ours.FILES["lock"](self.path / "lock"):
            raise RunDirectoryError(
                f"{self.path / 'lock'} is not the lock of a run: move it elsewhere, or choose another --run"
            )

    @property
    def state(self) -> str | None:
        """The activity here when a process was killed (see lock.py), None if its run had started."""
        return notes(self.path / "lock").get(STATE)

    def check_resumable(self) -> None:
        """Raise RunDirectoryError if "auto" would resume the remains of a run that was being replaced or copied."""
        if self.state == REPLACING and self.saved():
            raise RunDirectoryError(
                f"the run in {self.path} was being replaced when the process was killed: replace it with --overwrite, "
                "or resume it with --resume and the path of a remaining checkpoint"
            )
        if self.state == COPYING:
            raise RunDirectoryError(
                f"a run that should resume a checkpoint from elsewhere was killed before it started in {self.path}: "
                "name that checkpoint again with --resume PATH"
            )

    def holds_run(self) -> bool:
        """Whether a run has left files here."""
        return bool(kind(self.journal) or kind(self.summary) or self.saved())

    def contains(self, path: str | os.PathLike[str]) -> bool:
        """Whether the file ``path`` lies in the directory, or one of the run's checkpoints is a link to it."""
        path = Path(path)
        here = {os.path.realpath(self.path), os.path.realpath(self.checkpoints)}  # other folders may be other runs
        folders = {os.path.dirname(os.path.realpath(path)), os.path.realpath(path.parent)}  # path may be a link
        linked = os.path.realpath(path) in map(os.path.realpath, self.saved())
        return path.is_file() and (linked or bool(folders & here))

    def saved(self) -> list[Path]:
        """Return the run's checkpoint files."""
        return [path for path in self.checkpoint_files() if ours.CHECKPOINT.fullmatch(path.name)]

    def checkpoint_files(self) -> list[Path]:
        """Return the files in checkpoints/ with names of checkpoints, including those set aside."""
        try:
            names = sorted(os.listdir(self.checkpoints))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [self.checkpoints / name for name in names if ours.is_saved_name(name)]


class LockedDirectory(RunDirectory):
    """A run directory that this process has locked, and created if necessary. Only the root rank has one."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Create and lock it; raises RunDirectoryError if it is not writable, not a run's, or used by a live run."""
        super().__init__(path)
        self.moved: list[str] = []  # new names of files that were set aside because they are not a run's, or damaged
        self.check()
        with able_to(f"write the run directory {self.path}"):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(self.path / "lock")
            self._remove_leftovers()

    def start(self, overwrite: bool = False, copies: bool = False) -> None:
        """Prepare the directory for a new run, which counts as not started until ``claim``.

        Raises RunDirectoryError if it already holds a run. With ``overwrite``, that run's files (and nothing else) are
        removed instead. ``copies``: the run starts from a checkpoint elsewhere.
        """
        with able_to(f"write the run directory {self.path}"):
            if self.holds_run() and self.state not in (COPYING, PREPARING):
                if not overwrite:
                    raise RunDirectoryError(
                        f"{self.path} already holds a run: resume it with --resume auto, replace it with --overwrite, "
                        "or choose another --run"
                    )
                self._lock.note(**{STATE: REPLACING})
            self._remove_run()
            self._lock.note(**{STATE: COPYING if copies else PREPARING})

    def claim(self, job: str | None, folder: Path | None = None) -> None:
        """Note that the run has started, and the ``job`` of `distlenet launch` that it belongs to, with its ``folder``.

        From now on it can be resumed. Raises OSError.
        """
        self._lock.note(**({JOB: job} if job else {}), **({DOOR: str(folder)} if folder else {}))

    def reclaim(self) -> bool:
        """Create and lock the directory again if somebody has removed it; returns whether that was the case.

        Raises RunDirectoryError if another run uses it now or it became a link, OSError if it cannot be created.
        """
        if not self._lock.is_there:
            self.check()
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            lock = Lock(self.path / "lock")
            lock.note(**self._lock.notes)
            self._lock.close()
            self._lock = lock
            return True
        if is_real_directory(self.checkpoints):
            return False
        if kind(self.checkpoints):
            raise RunDirectoryError(f"{self.checkpoints} was replaced by {kind(self.checkpoints)} during the run")
        self.checkpoints.mkdir()
        return True

    def rename(self, path: Path) -> None:
        """Set a file aside that is not ours, or damaged; its new name is listed in ``moved``."""
        self.moved.append(ours.set_aside(path))

    def _remove_leftovers(self) -> None:
        """Remove the unfinished files of a run that was killed while writing."""
        folders = [self.path / name for name in ours.FOLDERS]
        for folder in (self.path, *filter(is_real_directory, folders)):
            for path in list(folder.iterdir()):
                if ours.is_leftover(path):
                    path.unlink()

    def _remove_run(self) -> None:
        """Remove the run's files and nothing else; checkpoints first, so that they cannot be resumed later."""
        for path in self.checkpoint_files():
            if path.is_symlink() or ours.is_checkpoint(path, damaged=True):
                path.unlink()
            elif ours.CHECKPOINT.fullmatch(path.name):
                self.rename(path)
        for name in ("postmortem", "tensorboard", "report"):
            ours.remove_folder(self.path, name)
        for path in (self.journal, self.summary, self.path / "config.toml", self.path / NAME):
            self.make_way(path)
            path.unlink(missing_ok=True)

    def make_way(self, path: Path) -> None:
        """Set the file ``path`` aside if it is not recognised as a run's: another program's, or edited by hand."""
        if kind(path) == "a file" and not ours.recognises(path):
            self.rename(path)

    def detach(self, path: Path) -> None:
        """Replace the file ``path`` by a copy if it has a second hard link, which would change with it."""
        if kind(path) == "a file" and path.stat().st_nlink > 1:
            atomic.copy(path, path)

    def close(self) -> None:
        """Release the lock."""
        self._lock.close()

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the directory as a whole; raises RunDirectoryError.

        An existing file that is not recognised as a run's is set aside and listed in ``moved``.
        """
        path = self.path / name
        with able_to(f"write {path}"):
            path.parent.mkdir(exist_ok=True)
            if path.parent != self.path and not is_real_directory(path.parent):
                found = kind(path.parent)
                raise RunDirectoryError(f"cannot write {path}: {path.parent} is {found}, expected a directory")
            self.make_way(path)
        atomic.write(path, content, RunDirectoryError)
