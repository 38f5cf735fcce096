"""A state to go back to: a copy in the memory of every rank, and in each checkpoint.

A copy in memory, because every rank then goes back by itself: nothing is read, nothing is sent, and a disk that
failed, or a keeper that was lost, has no say in it. Within an epoch a checkpoint holds it beside the state, so
that a run which is resumed goes back to where it would have gone without the interruption.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from distlenet.training.state import TrainState


@dataclass(frozen=True)
class Snapshot:
    """A moment of a run: all of its state but what going back leaves alone (rate factor, divergences)."""

    place: dict[str, Any]  # epoch, step, steps; sums of the epoch so far; best (accuracy, epoch); loss watch
    vectors: dict[str, np.ndarray]  # "theta", "optimizer/<name>", "best/theta": each (parameters,)

    @classmethod
    def of(cls, state: "TrainState", spare: "Snapshot | None" = None) -> "Snapshot":
        """Copy ``state``, into the memory of ``spare`` if there is one: that is lost."""
        vectors = {"theta": state.net.theta}
        vectors |= {f"optimizer/{name}": vector for name, vector in state.optimizer.state.items()}
        for name, vector in vectors.items():
            vectors[name] = spare.vectors[name] if spare else np.empty_like(vector)
            vectors[name][:] = vector
        if state.best_theta is not None:
            vectors["best/theta"] = state.best_theta  # is replaced, never changed
        place = {
            "epoch": state.epoch,
            "step": state.step,
            "steps": state.steps,
            "running": asdict(state.running),
            "best": [state.best_accuracy, state.best_epoch],
            "watch": asdict(state.watch),
        }
        return cls(place, vectors)

    def is_of(self, state: "TrainState") -> bool:
        """Whether ``state`` is still as this was taken of it: where it stands, a curvature may have been renewed."""
        if (self.place["epoch"], self.place["step"]) != (state.epoch, state.step):
            return False
        names = state.optimizer.state
        pairs = ((self.vectors[f"optimizer/{name}"], names[name]) for name in names)
        return all(np.array_equal(then, now, equal_nan=True) for then, now in pairs)

    def restore(self, state: "TrainState") -> None:
        """Bring ``state`` back here."""
        place, vectors = self.place, self.vectors
        state.net.theta[:] = vectors["theta"]
        for name, vector in state.optimizer.state.items():
            vector[:] = vectors[f"optimizer/{name}"]
        state.epoch, state.step, state.optimizer.steps = place["epoch"], place["step"], place["steps"]
        state.running = type(state.running)(**place["running"])
        state.watch = type(state.watch)(**place["watch"])
        state.history, state.latest = state.history[: state.epoch], None
        state.best_accuracy, state.best_epoch = place["best"]
        state.best_theta = vectors.get("best/theta")
