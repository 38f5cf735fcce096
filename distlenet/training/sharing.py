"""Giving every rank the state of one: at the start of a run, and after ranks were lost."""

from dataclasses import asdict

import numpy as np

from distlenet.parallel import Communicator
from distlenet.training.divergence import LossWatch
from distlenet.training.events import StepDone
from distlenet.training.snapshot import Snapshot
from distlenet.training.state import Running, TrainState


def share_state(state: TrainState, comm: Communicator, source: int = 0) -> None:
    """Bring every rank's ``state`` to that of the rank ``source``: parameters, optimizer, position, history.

    All or nothing: what arrives is taken over only when all of it has arrived, so that a rank lost in
    the middle leaves every other one with a whole state, its old one or the new one.
    """
    vectors = [state.net.theta, *(state.optimizer.state[name] for name in sorted(state.optimizer.state))]
    position = comm.broadcast(
        {
            "epoch": state.epoch,
            "step": state.step,
            "steps": state.steps,
            "running": vars(state.running),
            "history": state.history,
            "latest": asdict(state.latest) if state.latest else None,
            "best": [state.best_accuracy, state.best_epoch],
            "has_best_theta": state.best_theta is not None,
            "factor": state.factor,
            "divergences": state.divergences,
            "watch": asdict(state.watch),
            "good": None if state.good.is_of(state) else [state.good.place, sorted(state.good.vectors)],
        },
        source,
    )
    arrived = [vector.copy() for vector in vectors]
    for vector in arrived:
        comm.broadcast_array(vector, source)
    best_theta = None
    if position["has_best_theta"]:
        best_theta = np.empty_like(state.net.theta) if state.best_theta is None else state.best_theta.copy()
        comm.broadcast_array(best_theta, source)
    good = None
    if position["good"]:
        place, names = position["good"]
        good = Snapshot(place, {name: state.good.vectors.get(name, state.net.theta).copy() for name in names})
        for name in names:
            comm.broadcast_array(good.vectors[name], source)
    comm.allgather(None)  # everybody has everything
    for vector, new in zip(vectors, arrived, strict=True):
        vector[:] = new
    state.epoch, state.step, state.optimizer.steps = position["epoch"], position["step"], position["steps"]
    state.running = Running(**position["running"])
    state.history = position["history"]
    state.latest = StepDone(**position["latest"]) if position["latest"] else None
    state.best_accuracy, state.best_epoch = position["best"]
    state.best_theta = best_theta
    state.factor, state.divergences = position["factor"], position["divergences"]
    state.watch = LossWatch(**position["watch"])
    state.good = good or Snapshot.of(state)
