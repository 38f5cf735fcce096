"""Resuming a run from its newest checkpoint, or a new one from a checkpoint of another."""

import contextlib
from pathlib import Path
from typing import Any

from distlenet import atomic
from distlenet.config import changes
from distlenet.errors import CheckpointError, ConfigError, UsageError
from distlenet.recipes import build_config
from distlenet.runs.checkpoint import Checkpoint
from distlenet.runs.checkpoint_file import read_checkpoint, read_order
from distlenet.runs.choice import is_best, newest_checkpoint, order_of
from distlenet.runs.directory import LockedDirectory, RunDirectory
from distlenet.runs.ours import is_config
from distlenet.training.events import Notice
from distlenet.training.state import TrainState


def find_source(directory: RunDirectory, source: str) -> tuple[Checkpoint | None, list[Notice]]:
    """Return the checkpoint to resume from, and notices for the user; root only.

    ``source`` is a path, or "auto" for the newest good checkpoint of ``directory`` (None if it holds none yet). Raises
    UsageError if it is an older checkpoint of ``directory``, CheckpointError if it cannot be read or holds settings
    that this version does not know.
    """
    if source == "auto" and not directory.saved():
        own = ", with the settings of its config.toml unless others are given" if settings_of(directory) else ""
        return None, [Notice(f"nothing to resume from yet: the run starts from the beginning{own}")]
    damaged: list[CheckpointError] = []
    if source == "auto":
        checkpoint, damaged = newest_checkpoint(directory)
    elif directory.contains(source):
        checkpoint, damaged = _newest_as(source, directory)
    else:
        checkpoint = read_checkpoint(Path(source))
    _ = checkpoint.config  # raises for settings of a newer version: such a checkpoint is not damaged, and not skipped
    return checkpoint, [Notice(f"{error}: skipped", "warning") for error in damaged]


def _newest_as(source: str, directory: RunDirectory) -> tuple[Checkpoint, list[CheckpointError]]:
    """Return the newest checkpoint of ``directory`` (see newest_checkpoint) if ``source`` is equally new."""
    order = read_order(Path(source))
    with contextlib.suppress(CheckpointError):
        checkpoint, damaged = newest_checkpoint(directory)
        if checkpoint.progress.order == order:
            return checkpoint, damaged
    raise UsageError(
        f"{source} is not the newest checkpoint of {directory.path}, and a run resumes only from its newest: to train "
        "from it, choose a new directory, --run NEW"
    )


def settings_of(directory: RunDirectory) -> dict[str, Any] | None:
    """Return the settings in ``directory`` of a run that ended before its first checkpoint, or None."""
    path = directory.path / "config.toml"
    return build_config("standard", path).to_dict() if is_config(path) else None


def edits(directory: RunDirectory, origin: Checkpoint) -> list[Notice]:
    """Return a notice if the config.toml of the resumed run was edited, since that does not change the run."""
    path = directory.path / "config.toml"
    if not path.is_file():
        return []
    try:
        edited = changes(origin.config, build_config(file=path, base=origin.meta["config"]))
    except ConfigError:
        return []  # it will be renamed, and that is reported
    names = ", ".join(f"{name} = {new!r} (the run has {old!r})" for name, old, new, _ in edited)
    text = f"{path} was edited: {names}. The run keeps its own settings: change one by --override NAME and its flag"
    return [Notice(text, "warning")] * bool(edited)


def bring_files(checkpoint: Checkpoint, directory: LockedDirectory, state: TrainState) -> list[Notice]:
    """Set damaged checkpoints aside, and copy the files of a run elsewhere that ``checkpoint`` belongs to; root only.

    ``state`` was restored from it. Returns a warning if best.h5 is not that of the best epoch. Raises OSError if the
    run directory cannot be written.
    """
    progress, best = state.progress, directory.checkpoints / "best.h5"
    for path in directory.saved():
        if order_of(path) is None:  # set aside: as it ages it would push a good one out
            directory.rename(path)
    if not directory.contains(checkpoint.path):
        folder = checkpoint.path.absolute().parent
        atomic.copy(checkpoint.path, directory.checkpoints / "last.h5")
        if is_best(folder / "best.h5", state.best_theta):
            atomic.copy(folder / "best.h5", best)
        if folder.name == "checkpoints" and (folder.parent / "journal.jsonl").is_file():
            atomic.copy(folder.parent / "journal.jsonl", directory.journal)
    saved_at_once = progress.step == 0 and progress.best_epoch == progress.epoch - 1
    if progress.best_epoch is None or saved_at_once or is_best(best, state.best_theta):
        return []
    what, number = "is from another epoch" if best.exists() else "is missing", progress.best_epoch + 1
    return [Notice(f"{best} {what}: only last.h5 holds the parameters of the best epoch, {number}", "warning")]
