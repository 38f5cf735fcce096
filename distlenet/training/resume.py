"""Going on with a run from one of its checkpoints."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from distlenet.atomic import flush_to_disk, replacing
from distlenet.config import Config, build_config, changes
from distlenet.errors import CheckpointError, ConfigError, DataError
from distlenet.numerics import numerics
from distlenet.own_code import source_sha256
from distlenet.training.checkpoint import Checkpoint, DatasetFacts
from distlenet.training.checkpoint_file import read_checkpoint
from distlenet.training.events import Notice
from distlenet.training.ours import is_config
from distlenet.training.rundir import RunDirectory
from distlenet.training.state import TrainState


def find_source(directory: RunDirectory, source: str) -> tuple[Checkpoint | None, list[Notice]]:
    """Return the checkpoint to go on from, and what the user should know; root only.

    ``source`` is a path, or "auto": the newest good checkpoint of ``directory``, None if it holds none
    yet. Raises CheckpointError when it cannot be read, or holds settings that this version does not know.
    """
    if source == "auto" and not directory.saved():
        if aside := directory.aside():
            raise CheckpointError(
                f"{directory.checkpoints} holds only checkpoints that were set aside ({', '.join(aside)}): name one by "
                "--resume PATH, or start again by --overwrite"
            )
        own = ", with the settings of its config.toml where no others are given" if settings_of(directory) else ""
        return None, [Notice(f"nothing to go on from yet: the run starts from the beginning{own}")]
    checkpoint, damaged = directory.newest_checkpoint() if source == "auto" else (read_checkpoint(Path(source)), [])
    _ = checkpoint.config  # of a newer version, which has more settings, it is whole and nothing to pass over
    return checkpoint, [Notice(f"{error}: passed over", "warning") for error in damaged]


def settings_of(directory: RunDirectory) -> dict[str, Any] | None:
    """Return the settings of a run that ended before it saved anything, None if ``directory`` holds none."""
    path = directory.path / "config.toml"
    return build_config("standard", path).to_dict() if is_config(path) else None


def compare(meta: dict[str, Any], config: Config, dataset: DatasetFacts, override: tuple[str, ...]) -> list[str]:
    """Compare a checkpoint's ``meta`` with the run that is to go on from it; returns what the user should know.

    Raises ConfigError when a setting that decides the mathematics differs and is not named in
    ``override``, DataError when the dataset is another.
    """
    found = meta["dataset"]
    if found["fingerprint"] != dataset.fingerprint:
        raise DataError(
            f"the run was started on a dataset with fingerprint {found['fingerprint'][:12]}, this one has "
            f"{dataset.fingerprint[:12]}: give the same --data, or start another run"
        )
    notices = []
    for name, before, after, decisive in changes(Config(**meta["config"]), config):
        if decisive and name not in override:
            raise ConfigError(
                f"the run was started with {name} = {before!r}, now it is {after!r}: this would change its results; "
                f"leave the setting out, or insist by --override {name}"
            )
        notices.append(f"{name} was {before!r}, is now {after!r}")
    before, after = meta.get("code"), source_sha256(config.model)
    if before and after and before != after:
        hashes = f"its SHA-256 was {before:.12}, is now {after:.12}"
        what = f"the code of {config.model} has changed since the run was started ({hashes})"
        if "model" not in override:
            raise ConfigError(
                f"{what}: this would change its results; bring it back to what it was, or insist by --override model"
            )
        notices.append(what)
    # the mean and deviation of its pixels are no part of the fingerprint, and another model may have its own
    then, here = (found["mean"], found["std"]), (dataset.mean, dataset.std)
    if then != here and meta["config"].get("model", config.model) == config.model:
        raise DataError(
            f"the run was started with pixels of mean {then[0]!r} and deviation {then[1]!r}, the dataset now says "
            f"{here[0]!r} and {here[1]!r}: its attributes were changed; make it again, or start another run"
        )
    now = numerics()
    unlike = [key for key, value in meta["numerics"].items() if now.get(key) != value]
    if unlike:
        what = ", ".join(f"{key} {meta['numerics'][key]} (now {now.get(key)})" for key in unlike)
        notices.append(f"the checkpoint was computed with {what}: from here on the last bits may differ")
    return notices


def go_on(checkpoint: Checkpoint, directory: RunDirectory, state: TrainState) -> list[Notice]:
    """Bring the files to where ``state`` is, restored from ``checkpoint``; root only.

    Returns what the user should know. Raises OSError when the run directory cannot be written.
    """
    aside: list[str] = []

    def make_way(path: Path) -> None:
        if path.exists():
            aside.append(directory.rename_aside(path))

    progress = state.progress
    elsewhere, folder = not directory.contains(checkpoint.path), checkpoint.path.absolute().parent
    if not directory.is_saved(checkpoint.path):  # it comes from elsewhere, or had been set aside
        copy(checkpoint.path, directory.checkpoints / "last.h5", make_way)
    # not before that is written: on a full disk the run must not be left without a checkpoint
    aside += directory.set_aside((progress.steps, progress.epoch))
    journal = folder.parent / "journal.jsonl"
    if elsewhere and folder.name == "checkpoints" and journal.is_file():
        copy(journal, directory.journal, lambda path: None)
    notices = [Notice(f"going on from {checkpoint.path}: {progress.coming}")]
    best = directory.checkpoints / "best.h5"
    if state.best_theta is not None and not holds_best(best, state):
        source = find_best(checkpoint.path, state)
        if source:
            copy(source, best, make_way)
        else:
            make_way(best)
            number = progress.best_epoch + 1
            text = f"{best} is missing: the parameters of the best epoch, {number}, are in last.h5 alone"
            notices.append(Notice(text, "warning"))
    if aside:
        notices.append(Notice(f"damaged, later than that or in the way, and renamed: {', '.join(aside)}", "warning"))
    return notices


def find_best(source: Path, state: TrainState) -> Path | None:
    """Return a checkpoint, in the folder of ``source``, of the best epoch of ``state``; None if there is none."""
    likely = [source.with_name("best.h5"), source, *sorted(source.parent.glob("*.h5*"))]
    return next((path for path in likely if holds_best(path, state)), None)


def holds_best(path: Path, state: TrainState) -> bool:
    """Whether ``path`` is a good checkpoint of the end of the best epoch of ``state``."""
    try:
        found = read_checkpoint(path)
    except CheckpointError:
        return False
    place = found.progress.epoch, found.progress.step
    return place == (state.progress.best_epoch + 1, 0) and np.array_equal(found.averaged, state.best_theta)


def copy(source: Path, target: Path, make_way: Callable[[Path], None]) -> None:
    """Copy a file: whole, or not at all; ``make_way(target)`` is called before it takes its name.

    Raises OSError.
    """
    with replacing(target, follow_links=False) as temporary:  # a link may be renamed, with what it leads to
        shutil.copyfile(source, temporary)
        flush_to_disk(temporary)
        make_way(target)
