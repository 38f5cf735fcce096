"""The figures at the end of a run: what summary.json holds."""

import resource
from collections.abc import Iterable
from typing import Any

import numpy as np

from distlenet.parallel import Communicator
from distlenet.training.experiment import Experiment


def summarize(
    experiment: Experiment,
    comm: Communicator,
    status: str,
    seconds: float,
    steps: Iterable[tuple[float, float]],
    images: int,
) -> dict[str, Any]:
    """Return the summary; all ranks take part.

    ``steps`` are (seconds, of which exchange) of this rank's steps, ``images`` were trained on in ``seconds``.
    """
    state = experiment.state
    return {
        "status": status,
        "epochs": state.progress.epoch,
        "steps": state.progress.steps,
        "ranks": comm.size,
        "seconds": round(seconds, 3),
        "images_per_second": round(images / seconds, 1) if images else 0.0,
        "reduce_share": reduce_share(list(steps), comm),
        "memory_mib": max(comm.allgather(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)) // 1024,
        "theta_sha256": state.theta_sha256(),
        "divergences": state.progress.divergences,
        "lr_factor": state.progress.factor,
        "seed": experiment.config.seed,
        "parameters": state.net.size,
        "code_sha256": state.net.code_sha256,
        "data": experiment.dataset.name,
        "fingerprint": experiment.dataset.fingerprint,
    }


def reduce_share(steps: list[tuple[float, float]], comm: Communicator) -> float:
    """Return the median over the steps of the shortest exchange of any rank, over the median step.

    The shortest: a rank that waits for a late one spends that time in the exchange as well.
    """
    exchanges = comm.allgather([round(exchange, 7) for _, exchange in steps])
    common = min(map(len, exchanges))  # after a loss, ranks may have counted a repeated step differently
    if not common:
        return 0.0
    exchange = np.array([values[:common] for values in exchanges]).min(axis=0)
    return round(float(np.median(exchange) / np.median([seconds for seconds, _ in steps])), 4)


def final_test(experiment: Experiment) -> dict[str, Any]:
    """Read the test set, once, with the parameters chosen on the validation set, if there is one."""
    state = experiment.state
    chosen = "last" if state.averaged is state.net.theta else "average"
    if state.best_theta is not None:
        chosen = f"best (epoch {state.progress.best_epoch + 1})"
    with state.net.using(state.averaged if state.best_theta is None else state.best_theta):
        result = experiment.epoch_end.evaluate(state, experiment.slices.test)
    return {
        "test_accuracy": result.accuracy,
        "test_error": 1 - result.accuracy,
        "test_loss": result.loss,
        "test_chance": float(result.confusion.sum(axis=1).max() / result.confusion.sum()),  # always the same answer
        "val_accuracy": state.progress.best_accuracy,
        "evaluated": chosen,
    }
