"""Going on with a run from one of its checkpoints."""

from distlenet.config import Config
from distlenet.errors import CheckpointError
from distlenet.training.checkpoint import read_checkpoint
from distlenet.training.journal import Journal
from distlenet.training.rundir import RunDirectory
from distlenet.training.state import TrainState


def resume(directory: RunDirectory, source: str, config: Config, state: TrainState) -> list[str]:
    """Bring ``state`` to the newest checkpoint of ``directory`` ("auto") or to that of a path.

    Cuts the journal to the same step. Returns what the user should know. Raises CheckpointError.
    """
    notices: list[str] = []
    if source == "auto" and not directory.saved():
        return ["nothing to go on from yet: the run starts from the beginning"]
    if source == "auto":
        checkpoint, damaged = directory.newest_checkpoint()
        notices += [f"{error}: passed over" for error in damaged]
    else:
        from pathlib import Path

        checkpoint = read_checkpoint(Path(source))
    checkpoint.restore(state)
    if state.best_epoch is not None:
        state.best_theta = best_theta(directory, state)
    Journal.cut(directory.journal, state.steps)
    notices.append(f"going on from {checkpoint.path}: epoch {state.epoch + 1}, step {state.step + 1}")
    return notices


def best_theta(directory: RunDirectory, state: TrainState) -> object:
    """Return the parameters of the best epoch so far, from best.h5."""
    best = read_checkpoint(directory.checkpoints / "best.h5")
    if best.meta["best"]["epoch"] != state.best_epoch:
        raise CheckpointError(
            f"{best.path} is of epoch {best.meta['best']['epoch']}, the run's best is {state.best_epoch}: "
            "it belongs to another run"
        )
    return best.theta
