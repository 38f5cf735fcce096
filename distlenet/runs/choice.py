"""Choosing a checkpoint of a run: its newest, its best, or the one that a path names."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from distlenet.atomic import why_not_written
from distlenet.errors import CheckpointError, NewerFormatError
from distlenet.runs.checkpoint import Checkpoint
from distlenet.runs.checkpoint_file import read_checkpoint, read_order
from distlenet.runs.directory import RunDirectory
from distlenet.trust import Trust

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained.h5"  # made by scripts/pretrain


def newest_checkpoint(
    directory: RunDirectory, trust: Trust | None = None, mapped: bool = False
) -> tuple[Checkpoint, list[CheckpointError]]:
    """Return the newest good checkpoint of the run, and the errors of those that were skipped.

    Raises CheckpointError without any. Raises NewerFormatError if one has a newer format: it is not damaged, and
    skipping it would lose work.
    """
    damaged: list[CheckpointError] = []
    good: list[tuple[tuple[int, int, int], str]] = []
    for path in directory.saved():  # verifies all, but holds only one in memory
        try:
            good.append((read_order(path), path.name))
        except NewerFormatError:
            raise
        except CheckpointError as error:
            damaged.append(error)
    if not good:
        reasons = "".join(f"; {error}" for error in damaged)
        raise CheckpointError(f"{directory.checkpoints} holds no checkpoint to resume from{reasons}")
    return read_checkpoint(directory.checkpoints / max(good)[1], trust, mapped), damaged


def order_of(path: Path) -> tuple[int, int, int] | None:
    """Return the sort key of the checkpoint ``path``, or None if it is missing, damaged or not a checkpoint."""
    with contextlib.suppress(CheckpointError):
        return read_order(path)
    return None


def is_best(path: Path, best_theta: np.ndarray | None) -> bool:
    """Whether ``path`` is a good checkpoint with the parameters ``best_theta``."""
    with contextlib.suppress(CheckpointError):
        return best_theta is not None and np.array_equal(read_checkpoint(path).averaged, best_theta)
    return False


def find_checkpoint(
    path: str | os.PathLike[str],
    tell: Callable[[str], None] = lambda text: None,
    trust: Trust | None = None,
    mapped: bool = False,
) -> Checkpoint:
    """Return the checkpoint that ``path`` names: a file, or a run directory (its best, otherwise its newest).

    If best.h5 is missing or damaged, the best parameters come from the newest good checkpoint, which holds them too.
    "pretrained" always names the checkpoint of this package; a run of that name is ./pretrained.

    ``trust`` tells which user-defined code the network may run; other code is refused before anything large is read.
    ``mapped`` arrays stay in the file. ``tell`` is called with sentences for the user. Raises CheckpointError.
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
            tell(f"{best.path} is not from the best epoch: the best parameters are taken from {later.path}")
            return later
        if not (path / "checkpoints").is_dir():
            inside = f"; is it {path.parent}?" if path.name == "checkpoints" else ""
            raise CheckpointError(f"{path} is not a run directory: it has no checkpoints/{inside}")
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {why_not_written(error)}") from error
    newest, damaged = newest_checkpoint(RunDirectory(path), trust, mapped)
    for fault in damaged:
        tell(f"{fault}: skipped")
    checkpoint = newest.at_best()
    if checkpoint is not newest:
        tell(f"{path} has no good best.h5: the parameters of its best epoch are taken from {newest.path}")
    elif damaged:
        tell(f"{newest.path} is used")
    return checkpoint


def _later_best(last: Path, best: Checkpoint, trust: Trust | None, mapped: bool) -> Checkpoint | None:
    """Return the best parameters that ``last`` holds, if ``best`` does not hold them.

    ``best`` may be outdated because it could not be written, or because the run went back.
    """
    with contextlib.suppress(CheckpointError):
        newest = read_checkpoint(last, trust, mapped)
        later = newest.at_best()
        if newest.progress.order > best.progress.order and not np.array_equal(best.averaged, later.averaged):
            return replace(later, trust=best.trust)
    return None
