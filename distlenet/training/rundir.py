"""The run directory: config.toml, journal.jsonl, checkpoints/, summary.json; one run at a time."""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from distlenet.data.atomic import replacing, why_not_written
from distlenet.errors import CheckpointError, DistlenetError, NewerFormatError, RunDirectoryError
from distlenet.training.checkpoint import Checkpoint
from distlenet.training.checkpoint_file import read_checkpoint

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained.h5"  # made by scripts/pretrain
OURS = ("config.toml", "journal.jsonl", "summary.json", "report", "postmortem", "tensorboard")
CHECKPOINTS = ("last.h5", "last-*.h5", "best.h5", "epoch-*.h5")


class RunDirectory:
    """The files of one run. Only the root rank makes and writes it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.journal = self.path / "journal.jsonl"
        self.summary = self.path / "summary.json"
        self._lock: int | None = None

    def open(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Make the directory and lock it.

        Raises RunDirectoryError: not writable, in use by a live run, or holding a run already (unless
        ``resume``, which goes on, or ``overwrite``, which removes that run's files and nothing else).
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self._remove_leftovers()
            if self.holds_run() and not resume:
                if not overwrite:
                    raise RunDirectoryError(
                        f"{self.path} already holds a run: go on with it by --resume auto, replace it by --overwrite, "
                        "or choose another --run"
                    )
                self._remove_run()
        except OSError as error:
            raise RunDirectoryError(f"cannot write the run directory {self.path}: {why_not_written(error)}") from error

    def reclaim(self) -> bool:
        """Make and lock the directory anew if somebody has removed it; returns whether it was so.

        Raises RunDirectoryError if another run has it by now, OSError if it cannot be made.
        """
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if os.path.samestat(os.fstat(self._lock), os.stat(self.path / "lock")):
                return False
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.close()
        self._take_lock()
        return True

    def holds_run(self) -> bool:
        """Whether a run has left anything here."""
        return self.journal.exists() or self.summary.exists() or bool(self.saved())

    def contains(self, path: str | os.PathLike[str]) -> bool:
        """Whether the file ``path`` lies in the directory, or is one that the run's checkpoints are links to."""
        path = Path(path)
        ours = {os.path.realpath(self.path), os.path.realpath(self.checkpoints)}  # folders in here may be other runs
        folders = {os.path.dirname(os.path.realpath(path)), os.path.realpath(path.parent)}  # a link may lead elsewhere
        return path.is_file() and (bool(folders & ours) or self.is_saved(path))

    def is_saved(self, path: str | os.PathLike[str]) -> bool:
        """Whether ``path`` is one of the run's checkpoint files, and was not set aside."""
        return os.path.realpath(path) in map(os.path.realpath, self.saved())

    @property
    def locked(self) -> bool:
        """Whether the directory is ours."""
        return self._lock is not None

    def set_aside(self, here: tuple[int, int]) -> list[str]:
        """Rename the checkpoints that do not belong to a run that goes on from position ``here``: later ones,
        which would outrun its journal, and damaged ones, which would push good ones out. Returns the new names.
        """
        return [self.rename_aside(path) for path in self.saved() if position(path) > here]

    def rename_aside(self, path: Path) -> str:
        """Rename a checkpoint to a name that is free, and return that; the file is kept until --overwrite."""
        names = (f"{path.name}.aside{f'-{number}' * (number > 1)}" for number in count(1))
        name = next(name for name in names if not path.with_name(name).exists())
        os.replace(path, path.with_name(name))
        return name

    def saved(self) -> list[Path]:
        """Return the run's checkpoint files."""
        return sorted(path for pattern in CHECKPOINTS for path in self.checkpoints.glob(pattern))

    def aside(self) -> list[str]:
        """Return the names of the checkpoints that were set aside."""
        names = [f"{pattern}.aside{number}" for pattern in CHECKPOINTS for number in ("", "-[0-9]*")]
        return sorted(path.name for name in names for path in self.checkpoints.glob(name))

    def _take_lock(self) -> None:
        """Lock the directory for the life of this process: the system lifts the lock even after kill -9."""
        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 100).decode(errors="replace").strip()
            raise RunDirectoryError(
                f"{self.path} is in use by another run ({holder or 'unknown process'}): wait for it, or choose "
                "another --run"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)

    def _remove_leftovers(self) -> None:
        """Remove what a run that was killed while it wrote a file left of it."""
        folders = [(self.checkpoints, ".*.part"), *((self.path, f".{name}.*.part") for name in OURS)]
        for leftover in (path for folder, pattern in folders for path in folder.glob(pattern)):
            leftover.unlink()

    def _remove_run(self) -> None:
        aside = [self.checkpoints / name for name in self.aside()]
        for path in [*self.saved(), *aside, *(self.path / name for name in OURS)]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Lift the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the directory as a whole; raises RunDirectoryError."""
        try:
            (self.path / name).parent.mkdir(exist_ok=True)
            with replacing(self.path / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise RunDirectoryError(f"cannot write {self.path / name}: {why_not_written(error)}") from error

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json."""
        self.write_text("summary.json", json.dumps(summary, indent=2) + "\n")

    def newest_checkpoint(self) -> tuple[Checkpoint, list[DistlenetError]]:
        """Return the newest good checkpoint of the run, and why newer ones were passed over.

        Raises CheckpointError if there is none, NewerFormatError if one is of a newer format: it is not damaged,
        and to go back behind it would lose work.
        """
        damaged: list[DistlenetError] = []
        good: list[Checkpoint] = []
        for path in self.saved():
            try:
                good.append(read_checkpoint(path))
            except NewerFormatError:
                raise
            except CheckpointError as error:
                damaged.append(error)
        if not good:
            reasons = "".join(f"; {error}" for error in damaged)
            raise CheckpointError(f"{self.checkpoints} holds no checkpoint to go on from{reasons}")
        return max(good, key=lambda checkpoint: (checkpoint.position, checkpoint.path.name)), damaged


def position(path: Path) -> tuple[float, float]:
    """Return (steps, epochs) at the checkpoint ``path``: infinities if it is none, or damaged."""
    try:
        return read_checkpoint(path).position
    except CheckpointError:
        return float("inf"), float("inf")


def find_checkpoint(path: str | os.PathLike[str], tell: Callable[[str], None] = lambda text: None) -> Checkpoint:
    """Return the checkpoint that ``path`` names: a file, or a run directory (its best, else its newest).

    Where best.h5 is missing or damaged, the best parameters come from the newest good checkpoint, which holds them
    too. ``tell`` is called with what the user should know. Raises CheckpointError.
    "pretrained" names the one that is part of this package, unless there is such a file or directory.
    """
    path = Path(path)
    if str(path) == "pretrained" and not path.exists():
        path = PRETRAINED
    try:
        if not path.is_dir():
            return read_checkpoint(path)
        with contextlib.suppress(CheckpointError):
            return read_checkpoint(path / "checkpoints" / "best.h5")
        if not (path / "checkpoints").is_dir():
            raise CheckpointError(f"{path} is not a run directory: it has no checkpoints/")
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {why_not_written(error)}") from error
    newest, damaged = RunDirectory(path).newest_checkpoint()
    for error in damaged:
        tell(f"{error}: passed over")
    checkpoint = newest.at_best()
    if checkpoint is not newest:
        tell(f"{path} has no good best.h5: the parameters of its best epoch are taken from {newest.path}")
    elif damaged:
        tell(f"{newest.path} is used")
    return checkpoint
