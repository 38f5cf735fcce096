"""The checks of ``--debug``."""

import numpy as np

from distlenet.nn import build_model
from distlenet.nn.debugging import watch
from distlenet.nn.gradcheck import check_gradients
from distlenet.training.announcer import Announcer
from distlenet.training.events import Notice
from distlenet.training.experiment import Experiment


def watch_closely(experiment: Experiment, announce: Announcer) -> None:
    """The checks of --debug: the gradient of the actual network, then every number of every layer."""
    config, dataset, state, leaves = experiment.config, experiment.dataset, experiment.state, experiment.leaves
    shape = (1, *dataset.image_shape)
    net = build_model(
        config.model,
        shape,
        len(dataset.class_names),
        config.activation,
        config.pooling,
        dtype=np.float64,
        rubbish=config.rubbish,
    )
    net.theta[:] = state.net.theta
    x, labels = leaves.load(0, 0, leaves.shards[0])
    checks = check_gradients(net, x[..., :4].astype(np.float64), labels[:4])
    worst = max(checks, key=lambda check: check.worst)
    announce(
        Notice(
            f"gradient check of {len(checks)} parameters: largest deviation from finite differences "
            f"{worst.worst:.1e} ({worst.name})",
            "info" if worst.worst < 1e-4 else "warning",
        )
    )
    watched = watch(state.net)
    for listener in announce.listeners:
        if hasattr(listener, "watched"):
            listener.watched = watched
