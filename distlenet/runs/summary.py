"""The final figures of a run, written to summary.json."""

import resource
import time
from collections import deque
from statistics import median
from typing import Any

from distlenet.numerics import numerics
from distlenet.parallel import Communicator
from distlenet.runs.experiment import Experiment
from distlenet.training.events import Event, StepDone

RECENT = 50_000  # number of steps whose times are kept, to bound the memory of a long run


class Pace:
    """The training speed of this process since this object was created."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.steps: deque[tuple[float, float]] = deque(maxlen=RECENT)  # (seconds, seconds of exchange) of each step
        self.images = 0  # number of images trained on

    def note(self, event: Event) -> None:
        """Count a step."""
        if isinstance(event, StepDone):
            self.steps.append((event.seconds, event.exchange_seconds))
            self.images += event.count

    @property
    def seconds(self) -> float:
        """Seconds since this object was created."""
        return time.perf_counter() - self._started


def summarize(experiment: Experiment, comm: Communicator, status: str, seconds: float, pace: Pace) -> dict[str, Any]:
    """Return the summary of a training that took ``seconds``; a collective operation."""
    state, images = experiment.state, pace.images
    return {
        "status": status,
        "epochs": state.progress.epoch,
        "steps": state.progress.steps,
        "ranks": comm.size,
        "seconds": round(seconds, 3),
        "images_per_second": round(images / seconds, 1) if images else 0.0,
        "reduce_share": reduce_share(list(pace.steps), comm),
        "memory_mib": max(comm.allgather(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)) // 1024,
        "theta_sha256": state.theta_sha256(),
        "numerics": numerics(experiment.config.numerics),
        "divergences": state.progress.divergences,
        "lr_factor": state.progress.factor,
        "seed": experiment.config.seed,
        "parameters": state.net.size,
        "code_sha256": state.net.code_sha256,
        "own_code": state.code,
        "data": experiment.dataset.name,
        "fingerprint": experiment.dataset.fingerprint,
    }


def reduce_share(steps: list[tuple[float, float]], comm: Communicator) -> float:
    """Return the median over the steps of the shortest exchange of any rank, divided by the median step time.

    The shortest counts, because a rank that waits for a late one spends that time in the exchange too.
    """
    exchanges = comm.allgather([round(exchange, 7) for _, exchange in steps])
    common = min(map(len, exchanges))  # after a loss, ranks may have counted different numbers of steps
    if not common:
        return 0.0
    exchange = map(min, zip(*(values[:common] for values in exchanges), strict=True))
    return round(median(exchange) / median(seconds for seconds, _ in steps), 4)  # np.median would load numpy.ma


def final_test(experiment: Experiment) -> dict[str, Any]:
    """Evaluate the test set once, with the parameters chosen on the validation set if there is one."""
    state = experiment.state
    chosen = "last" if state.averaged is state.net.theta else "average"
    if state.progress.best_epoch is not None:
        chosen = f"best (epoch {state.progress.best_epoch + 1})"
    with state.net.using(state.averaged if state.best_theta is None else state.best_theta):
        result = experiment.epoch_end.evaluate(state.net, experiment.slices.test)
    return {
        "test_accuracy": result.accuracy,
        "test_error": 1 - result.accuracy,
        "test_loss": result.loss,
        # the accuracy of always answering with the most frequent class
        "test_chance": float(result.confusion.sum(axis=1).max() / result.confusion.sum()),
        "val_accuracy": state.progress.best_accuracy,
        "evaluated": chosen,
    }
