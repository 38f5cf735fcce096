"""The run directory: config.toml, journal.jsonl, checkpoints/, summary.json; one run at a time.

Its mark is the file ``lock``. A directory that has none is used only if all in it is recognised as ours, or it is
empty. In one that has it, other files may be added: they stay.
"""

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from distlenet import atomic
from distlenet.atomic import why_not_written
from distlenet.bounded import is_real_directory, kind
from distlenet.errors import CheckpointError, DistlenetError, NewerFormatError, RunDirectoryError
from distlenet.own_code import Trust
from distlenet.training import ours
from distlenet.training.checkpoint import Checkpoint
from distlenet.training.checkpoint_file import read_checkpoint, read_position
from distlenet.training.lock import COPYING, JOB, PREPARING, REPLACING, STATE, Lock, is_mark, notes

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained.h5"  # made by scripts/pretrain
DAMAGED = (float("inf"), float("inf"))  # the position of what is no good checkpoint
NAMED = 4  # entries in the way that a sentence names


class RunDirectory:
    """The files of one run. Only the root rank makes and writes it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.journal = self.path / "journal.jsonl"
        self.summary = self.path / "summary.json"
        self.moved: list[str] = []  # files under our names that were not recognised, by the names they have now
        self._lock: Lock | None = None

    def check(self) -> None:
        """Raise RunDirectoryError unless a run may write here; nothing is changed.

        The directory may be a link; within it links are refused.
        """
        try:
            if not self.path.is_dir():
                return  # there is none yet; a file in its place is an error of whoever makes the directory
            if not is_mark(self.path / "lock"):
                self._check_new()
            self._check_names()
        except OSError as error:
            raise RunDirectoryError(f"cannot read the run directory {self.path}: {why_not_written(error)}") from error

    def _check_new(self) -> None:
        found = ours.strangers(self.path)
        if found:
            more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
            raise RunDirectoryError(
                f"{self.path} is not a run directory: it has {', '.join(map(repr, found[:NAMED]))}{more}, which no run "
                f"wrote; give the run a directory of its own, for example --run {self.path / 'run'}"
            )

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

    def open(self, *, resume: bool = False, overwrite: bool = False, copies: bool = False) -> None:
        """Make the directory and lock it.

        Raises RunDirectoryError: not writable, in use by a live run, not a run's, or holding a run already (unless
        ``resume``, which continues it, or ``overwrite``, which removes that run's files and nothing else).
        A new run is noted as not started yet, until ``claim``; ``copies``: it starts from a checkpoint elsewhere.
        """
        self.check()
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(self.path / "lock")
            self._remove_leftovers()
            if resume:
                self._make_way(self.journal)
                return
            if self.holds_run() and self.state not in (COPYING, PREPARING):
                if not overwrite:
                    raise RunDirectoryError(
                        f"{self.path} already holds a run: resume it by --resume auto, replace it by --overwrite, "
                        "or choose another --run"
                    )
                self._lock.note(**{STATE: REPLACING})
            self._remove_run()
            self._lock.note(**{STATE: COPYING if copies else PREPARING})
        except OSError as error:
            raise RunDirectoryError(f"cannot write the run directory {self.path}: {why_not_written(error)}") from error

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

    def claim(self, job: str | None) -> None:
        """Note that the run starts from what is here, and the ``job`` of `distlenet launch` it belongs to.

        From now on it can be resumed. Raises OSError.
        """
        self._lock.note(**({JOB: job} if job else {}))

    def reclaim(self) -> bool:
        """Make and lock the directory again if somebody has removed it; returns whether it was so.

        Raises RunDirectoryError if another run has it by now or it became a link, OSError if it cannot be made.
        """
        if self._lock.is_there:
            if is_real_directory(self.checkpoints):
                return False
            if kind(self.checkpoints):
                raise RunDirectoryError(f"{self.checkpoints} was replaced by {kind(self.checkpoints)} during the run")
            self.checkpoints.mkdir()
            return True
        self.check()
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        before = self._lock.notes
        self.close()
        self._lock = Lock(self.path / "lock")
        self._lock.note(**before)
        return True

    def holds_run(self) -> bool:
        """Whether a run has left anything here."""
        return bool(kind(self.journal) or kind(self.summary) or self.saved())

    def contains(self, path: str | os.PathLike[str]) -> bool:
        """Whether the file ``path`` lies in the directory, or is one that the run's checkpoints are links to."""
        path = Path(path)
        here = {os.path.realpath(self.path), os.path.realpath(self.checkpoints)}  # folders in here may be other runs
        folders = {os.path.dirname(os.path.realpath(path)), os.path.realpath(path.parent)}  # a link may lead elsewhere
        return path.is_file() and (bool(folders & here) or self.is_saved(path))

    def is_saved(self, path: str | os.PathLike[str]) -> bool:
        """Whether ``path`` is one of the run's checkpoint files, and was not set aside."""
        return os.path.realpath(path) in map(os.path.realpath, self.saved())

    @property
    def locked(self) -> bool:
        """Whether the directory is ours."""
        return self._lock is not None

    def set_aside(self, here: tuple[int, int]) -> list[str]:
        """Rename the checkpoints that do not belong to a run that resumes from position ``here``: later ones,
        which would outrun its journal, and damaged ones, which would push good ones out. Returns the new names.
        """
        return [self.rename_aside(path) for path in self.saved() if position(path) > here]

    def go_back(self, here: tuple[int, int]) -> bool:
        """Set aside the checkpoints of a run that goes back to ``here``, which nothing on the disk need hold.

        If nothing that can be resumed would be left, the newest one stays, as last-1.h5: a run that resumes it goes
        back again. Returns whether it is so: once ``here`` is saved, that one is to be set aside too.
        """
        places = {path: position(path) for path in self.saved()}
        later = [path for path, place in places.items() if place > here]
        good = [path for path in later if places[path] < DAMAGED]
        left = max(good, key=places.get) if good and len(later) == len(places) else None
        for path in later:
            if path != left:
                self.rename_aside(path)
        if left:
            os.replace(left, self.checkpoints / "last-1.h5")
        return left is not None

    def rename_aside(self, path: Path) -> str:
        """Rename a file to a name that is free, and return that; the file is kept until --overwrite."""
        names = (f"{path.name}.aside{f'-{number}' * (number > 1)}" for number in count(1))
        name = next(name for name in names if not path.with_name(name).exists())
        os.replace(path, path.with_name(name))
        return name

    def saved(self) -> list[Path]:
        """Return the run's checkpoint files."""
        return self._in_checkpoints(lambda name: ours.CHECKPOINT.fullmatch(name) is not None)

    def aside(self) -> list[str]:
        """Return the names of the checkpoints that were set aside."""
        return [path.name for path in self._in_checkpoints(ours.is_saved_name) if ours.ASIDE.fullmatch(path.name)]

    def _in_checkpoints(self, wanted: Callable[[str], bool]) -> list[Path]:
        try:
            names = sorted(os.listdir(self.checkpoints))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [self.checkpoints / name for name in names if wanted(name)]

    def _remove_leftovers(self) -> None:
        """Remove what a run that was killed while it wrote a file left of it."""
        folders = [self.path / name for name in ours.FOLDERS]
        for folder in (self.path, *filter(is_real_directory, folders)):
            for path in list(folder.iterdir()):
                if ours.is_leftover(path):
                    path.unlink()

    def _remove_run(self) -> None:
        """Remove the run's files and nothing else; its checkpoints first, so that they are not resumed."""
        for path in [*self.saved(), *(self.checkpoints / name for name in self.aside())]:
            if path.is_symlink() or ours.is_checkpoint(path, damaged=True):
                path.unlink()
            elif not ours.ASIDE.fullmatch(path.name):
                self.moved.append(self.rename_aside(path))
        for name in ("postmortem", "tensorboard", "report"):
            ours.remove_folder(self.path, name)
        for path in (self.journal, self.summary, self.path / "config.toml"):
            self._make_way(path)
            path.unlink(missing_ok=True)

    def _make_way(self, path: Path) -> None:
        """Rename the file ``path`` if it is not recognised as ours: another program's, edited by hand, or damaged."""
        if kind(path) == "a file" and not ours.recognises(path):
            self.moved.append(self.rename_aside(path))

    def close(self) -> None:
        """Lift the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the directory as a whole; raises RunDirectoryError.

        A file in its place that is not recognised as ours is renamed, and listed in ``moved``.
        """
        path = self.path / name
        try:
            path.parent.mkdir(exist_ok=True)
            if path.parent != self.path and not is_real_directory(path.parent):
                raise RunDirectoryError(f"cannot write {path}: {path.parent} is {kind(path.parent)}, not followed")
            self._make_way(path)
        except OSError as error:
            raise RunDirectoryError(f"cannot write {path}: {why_not_written(error)}") from error
        atomic.write(path, text, RunDirectoryError)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json."""
        self.write_text("summary.json", json.dumps(summary, indent=2) + "\n")

    def newest_checkpoint(
        self, trust: Trust | None = None, mapped: bool = False
    ) -> tuple[Checkpoint, list[DistlenetError]]:
        """Return the newest good checkpoint of the run, and why newer ones were passed over.

        Raises CheckpointError if there is none, NewerFormatError if one is of a newer format: it is not damaged,
        and to go back behind it would lose work.
        """
        damaged: list[DistlenetError] = []
        good: list[tuple[tuple[int, int], str]] = []
        for path in self.saved():  # all are verified, but only one is held in memory
            try:
                good.append((read_position(path), path.name))
            except NewerFormatError:
                raise
            except CheckpointError as error:
                damaged.append(error)
        if not good:
            reasons = "".join(f"; {error}" for error in damaged)
            raise CheckpointError(f"{self.checkpoints} holds no checkpoint to go on from{reasons}")
        return read_checkpoint(self.checkpoints / max(good)[1], trust, mapped), damaged


def position(path: Path) -> tuple[float, float]:
    """Return (steps, epochs) at the checkpoint ``path``: DAMAGED if it is none, or damaged."""
    try:
        return read_position(path)
    except CheckpointError:
        return DAMAGED


def find_checkpoint(
    path: str | os.PathLike[str],
    tell: Callable[[str], None] = lambda text: None,
    trust: Trust | None = None,
    mapped: bool = False,
) -> Checkpoint:
    """Return the checkpoint that ``path`` names: a file, or a run directory (its best, else its newest).

    ``trust`` says which code its network may be; code that it does not admit is refused before anything large is read.
    ``mapped``: its arrays stay in the file.

    Where best.h5 is missing or damaged, the best parameters come from the newest good checkpoint, which holds them
    too. ``tell`` is called with what the user should know. Raises CheckpointError.
    "pretrained" always names the one that is part of this package: a run of that name is ./pretrained.
    """
    path = PRETRAINED if path == "pretrained" else Path(path)
    try:
        if not path.is_dir():
            return read_checkpoint(path, trust, mapped)
        with contextlib.suppress(CheckpointError):
            best = read_checkpoint(path / "checkpoints" / "best.h5", trust, mapped)
            later = _later_best(path / "checkpoints" / "last.h5", best, trust, mapped)
            if later is None:
                return best
            tell(f"{best.path} is that of an older epoch: the best parameters are taken from {later.path}")
            return later
        if not (path / "checkpoints").is_dir():
            inside = f"; is it {path.parent}?" if path.name == "checkpoints" else ""
            raise CheckpointError(f"{path} is not a run directory: it has no checkpoints/{inside}")
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {why_not_written(error)}") from error
    newest, damaged = RunDirectory(path).newest_checkpoint(trust, mapped)
    for error in damaged:
        tell(f"{error}: passed over")
    checkpoint = newest.at_best()
    if checkpoint is not newest:
        tell(f"{path} has no good best.h5: the parameters of its best epoch are taken from {newest.path}")
    elif damaged:
        tell(f"{newest.path} is used")
    return checkpoint


def _later_best(last: Path, best: Checkpoint, trust: Trust | None, mapped: bool) -> Checkpoint | None:
    """Return the best parameters that ``last`` knows of, if ``best`` could not be written after that epoch."""
    try:
        newest = read_checkpoint(last, trust, mapped)
    except CheckpointError:
        return None
    epoch = newest.progress.best_epoch
    stale = epoch is not None and newest.best_theta is not None and epoch + 1 > best.position[1]
    return replace(newest.at_best(), trust=best.trust) if stale and newest.position > best.position else None
