"""The checks of ``--debug``."""

from collections.abc import Callable

import numpy as np

from distlenet.nn import Net
from distlenet.nn.inspection import Watch, check_gradients, check_layers
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import in_agreement
from distlenet.runs.experiment import Experiment
from distlenet.training.events import Event, LayersWatched, Notice

WRONG = 1e-4  # a gradient is wrong above this relative difference from finite differences
IMAGES = 4  # number of images for the check


def watch_closely(experiment: Experiment, comm: Communicator, announce: Callable[[Event], None]) -> None:
    """Check the gradient of the actual network, then watch every number of every layer: for --debug.

    Raises DataError on every rank if a rank cannot read its images.
    """
    net, leaves = experiment.state.net, experiment.leaves
    with in_agreement(comm):
        x, labels = leaves.load(0, 0, leaves.shards[0])
    announce(check_network(net, experiment.config.model, x[..., :IMAGES].astype(np.float64), labels[:IMAGES]))
    announce(LayersWatched(Watch(net).statistics))


def check_network(net: Net, model: str, x: np.ndarray, labels: np.ndarray) -> Notice:
    """Return the result of the gradient check on a copy of ``net`` that computes in float64.

    ``x`` is (1, rows, columns, n) float64, ``labels`` (n,).
    """
    try:
        return judge(net.to(np.float64), x, labels)
    except Exception as error:
        if ":" not in model:
            raise
        text = f"no gradient check: {model} cannot compute in float64 ({type(error).__name__}: {error})"
        return Notice(text, "warning")


def judge(net: Net, x: np.ndarray, labels: np.ndarray) -> Notice:
    """Return the result of the gradient check of ``net`` (float64), naming layers with a wrong backward pass."""
    layers = check_layers(net, x)
    if coarse := [layer for layer in layers if layer.dtype != np.float64]:
        text = f"no gradient check: layer {coarse[0].name} ({coarse[0].kind}) computes in {coarse[0].dtype} instead of "
        return Notice(text + "self.dtype, too coarse for finite differences", "warning")
    if random := [layer for layer in layers if not layer.repeatable]:
        text = f"no gradient check: layer {random[0].name} ({random[0].kind}) answers the same input in different ways"
        return Notice(text, "warning")
    checks = check_gradients(net, x, labels)
    worst = max(checks, key=lambda check: check.worst)
    text = (
        f"gradient check of {len(checks)} parameters: largest difference from finite differences "
        f"{worst.worst:.1e} ({worst.name})"
    )
    if worst.worst < WRONG:
        return Notice(text)
    wrong = [f"{layer.name} ({layer.kind})" for layer in layers if layer.worst >= WRONG]
    if wrong:
        return Notice(f"{text}; the backward pass of {', '.join(wrong)} does not fit its forward pass", "warning")
    return Notice(
        f"{text}; each layer alone is right: does a layer with output_is_free = True read its output in backward, or "
        "one with shares_arrays = True write to its argument?",
        "warning",
    )
