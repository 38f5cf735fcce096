"""The run directory: config.toml, journal.jsonl, checkpoints/, summary.json; one run at a time.

Its mark is the file ``lock``. A directory that has none is used only if all in it is recognised as ours, or it is
empty. In one that has it, other files may be added: they stay.
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
from distlenet.runs.lock import COPYING, JOB, PREPARING, REPLACING, STATE, Lock, is_mark, notes

NAMED = 4  # entries in the way that a sentence names


def listed(names: list[str]) -> str:
    """Return ``names`` for a sentence: the first NAMED of them, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(map(repr, names[:NAMED]))}{more}"


@contextmanager
def able_to(do: str) -> Iterator[None]:
    """Make an OSError of the block a RunDirectoryError: cannot ``do``, "read the run directory runs/a"."""
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(f"cannot {do}: {why_not_written(error)}") from error


class RunDirectory:
    """The files of one run, to look at: nothing is changed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.journal = self.path / "journal.jsonl"
        self.summary = self.path / "summary.json"

    def check(self) -> None:
        """Raise RunDirectoryError unless a run may write here; nothing is changed.

        The directory may be a link; within it links are refused.
        """
        with able_to(f"read the run directory {self.path}"):
            if not self.path.is_dir():
                return  # there is none yet; a file in its place is an error of whoever makes the directory
            if not is_mark(self.path / "lock") and (found := ours.strangers(self.path)):
                raise RunDirectoryError(
                    f"{self.path} is not a run directory: it has {listed(found)}, which no run wrote; give the run a "
                    f"directory of its own, for example --run {self.path / 'run'}"
                )
            self._check_names()

    def _check_names(self) -> None:
        """Look at what has a name of ours."""
        for name in (*ours.FILES, *ours.FOLDERS):
            path, expected = self.path / name, "a file" if name in ours.FILES else "a directory"
            found = kind(path)
            if found not in (None, expected):
                raise RunDirectoryError(
                    f"{path} is {found}, expected {expected}: links and the like in a run directory are not followed; "
                    "remove it, or choose another --run"
                )
        if kind(self.path / "lock") and not ours.FILES["lock"](self.path / "lock"):
            raise RunDirectoryError(
                f"{self.path / 'lock'} is not the lock of a run: move it elsewhere, or choose another --run"
            )

    @property
    def state(self) -> str | None:
        """What was being done here when a process was killed, None if its run had started."""
        return notes(self.path / "lock").get(STATE)

    def check_resumable(self) -> None:
        """Raise RunDirectoryError where "auto" would resume what is left of a run that was being replaced, or made."""
        if self.state == REPLACING and self.saved():
            raise RunDirectoryError(
                f"the run in {self.path} was being replaced when the process was killed: replace it by --overwrite, or "
                "resume it by --resume and the name of a checkpoint that is left"
            )
        if self.state == COPYING:
            raise RunDirectoryError(
                f"a run that was to resume a checkpoint from elsewhere was killed before it started in {self.path}: "
                "name that checkpoint again by --resume PATH"
            )

    def holds_run(self) -> bool:
        """Whether a run has left anything here."""
        return bool(kind(self.journal) or kind(self.summary) or self.saved())

    def contains(self, path: str | os.PathLike[str]) -> bool:
        """Whether the file ``path`` lies in the directory, or is one that the run's checkpoints are links to."""
        path = Path(path)
        here = {os.path.realpath(self.path), os.path.realpath(self.checkpoints)}  # folders in here may be other runs
        folders = {os.path.dirname(os.path.realpath(path)), os.path.realpath(path.parent)}  # a link may lead elsewhere
        linked = os.path.realpath(path) in map(os.path.realpath, self.saved())
        return path.is_file() and (linked or bool(folders & here))

    def saved(self) -> list[Path]:
        """Return the run's checkpoint files."""
        return [path for path in self.checkpoint_files() if ours.CHECKPOINT.fullmatch(path.name)]

    def checkpoint_files(self) -> list[Path]:
        """Return the files in checkpoints/ that have a name of ours, renamed ones included."""
        try:
            names = sorted(os.listdir(self.checkpoints))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [self.checkpoints / name for name in names if ours.is_saved_name(name)]


class LockedDirectory(RunDirectory):
    """A run directory that this process has made, if there was none, and locked. Only the root rank has one."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Make and lock it; raises RunDirectoryError: not writable, not a run's, or in use by a live run."""
        super().__init__(path)
        self.moved: list[str] = []  # files under our names that were not recognised, by the names they have now
        self.check()
        with able_to(f"write the run directory {self.path}"):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(self.path / "lock")
            self._remove_leftovers()

    def start(self, overwrite: bool = False, copies: bool = False) -> None:
        """Prepare the directory for a new run, noted as not started yet until ``claim``.

        Raises RunDirectoryError if it holds a run already, unless that is to be replaced (``overwrite``): that run's
        files are removed and nothing else. ``copies``: the run starts from a checkpoint elsewhere.
        """
        with able_to(f"write the run directory {self.path}"):
            if self.holds_run() and self.state not in (COPYING, PREPARING):
                if not overwrite:
                    raise RunDirectoryError(
                        f"{self.path} already holds a run: resume it by --resume auto, replace it by --overwrite, "
                        "or choose another --run"
                    )
                self._lock.note(**{STATE: REPLACING})
            self._remove_run()
            self._lock.note(**{STATE: COPYING if copies else PREPARING})

    def claim(self, job: str | None) -> None:
        """Note that the run starts from what is here, and the ``job`` of `distlenet launch` it belongs to.

        From now on it can be resumed. Raises OSError.
        """
        self._lock.note(**({JOB: job} if job else {}))

    def reclaim(self) -> bool:
        """Make and lock the directory again if somebody has removed it; returns whether it was so.

        Raises RunDirectoryError if another run has it by now or it became a link, OSError if it cannot be made.
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
        """Remove what a run that was killed while it wrote a file left of it."""
        folders = [self.path / name for name in ours.FOLDERS]
        for folder in (self.path, *filter(is_real_directory, folders)):
            for path in list(folder.iterdir()):
                if ours.is_leftover(path):
                    path.unlink()

    def _remove_run(self) -> None:
        """Remove the run's files and nothing else; its checkpoints first, so that they are not resumed."""
        for path in self.checkpoint_files():
            if path.is_symlink() or ours.is_checkpoint(path, damaged=True):
                path.unlink()
            elif ours.CHECKPOINT.fullmatch(path.name):
                self.rename(path)
        for name in ("postmortem", "tensorboard", "report"):
            ours.remove_folder(self.path, name)
        for path in (self.journal, self.summary, self.path / "config.toml"):
            self.make_way(path)
            path.unlink(missing_ok=True)

    def make_way(self, path: Path) -> None:
        """Rename the file ``path`` if it is not recognised as ours: another program's, or edited by hand."""
        if kind(path) == "a file" and not ours.recognises(path):
            self.rename(path)

    def detach(self, path: Path) -> None:
        """Give the file ``path`` a copy of its own if it has a second name, which would change with it."""
        if kind(path) == "a file" and path.stat().st_nlink > 1:
            atomic.copy(path, path)

    def close(self) -> None:
        """Lift the lock."""
        self._lock.close()

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the directory as a whole; raises RunDirectoryError.

        A file in its place that is not recognised as ours is renamed, and listed in ``moved``.
        """
        path = self.path / name
        with able_to(f"write {path}"):
            path.parent.mkdir(exist_ok=True)
            if path.parent != self.path and not is_real_directory(path.parent):
                raise RunDirectoryError(f"cannot write {path}: {path.parent} is {kind(path.parent)}, not followed")
            self.make_way(path)
        atomic.write(path, text, RunDirectoryError)
