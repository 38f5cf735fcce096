"""Random settings and options of a short run: common ones, extremes, and learning rates that are far too high."""

import random
from pathlib import Path
from typing import Any

from fuzz.small import Small

OWN = Path(__file__).resolve().with_name("networks.py")
NETWORKS = ("plain", "deep", "rows", "own_layer", "linear")  # functions of OWN
MODELS = (
    *("lenet5", "lenet5", "lenet5", "lenet5-1998", "lenet5-1998-softmax", "feed-forward", "single-conv"),
    *("single-conv-pool", "double-conv", "lenet5-deeper", "conv8-conv8", "own", "own", "own"),
)
ACTIVATIONS = ("relu", "tanh", "sigmoid", "leaky-relu", "elu", "scaled-tanh")
POOLINGS = ("average", "max", "trainable")
OPTIMIZERS = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "muon", "levenberg-marquardt")
SCHEDULES = ("constant", "step", "inverse-time", "cosine", "one-cycle", "published")
RATES = {"rmsprop": 0.01, "adam": 0.01, "levenberg-marquardt": 0.01}  # sensible ones; of the others 0.1
MOST_WORK = {"lenet5-1998": 1000, "lenet5-1998-softmax": 1000, "double-conv": 1000}  # images in all epochs
WORK = 4000


def draw_settings(chance: random.Random) -> tuple[Small, dict[str, Any]]:
    """Return a dataset and the settings of a run on it, by name."""
    model = chance.choice(MODELS)
    paper = model.startswith("lenet5-1998")
    odd = chance.random() < 0.03  # a network that does not fit its images is refused, always in the same way
    small = Small.draw(chance, *(28 if paper and not odd else None, 10 if paper and not odd else None))
    if model == "own":
        model = f"{OWN}:{chance.choice(NETWORKS)}"
    optimizer = "levenberg-marquardt" if paper and chance.random() < 0.7 else chance.choice(OPTIMIZERS)
    shards = chance.choice((1, 2, 3, 4, 4, 7, 8, 8, 8))
    leaf = chance.choice((1, 2, 3, 5, 8, 11, 16, 32))
    epochs = max(1, min(chance.randint(1, 4), MOST_WORK.get(model, WORK) // small.train))
    if small.train // (shards * leaf) * epochs > 700:  # steps
        leaf *= 8
    hot = chance.random() < 0.5
    lr = RATES.get(optimizer, 0.1) * 10 ** (chance.uniform(1, 4) if hot else chance.uniform(-1.5, 0.5))
    settings: dict[str, Any] = {
        **{"model": model, "epochs": epochs, "batch_size": shards * leaf, "shards": shards, "optimizer": optimizer},
        **{"lr": float(f"{lr:.3g}"), "seed": chance.choice((1, 2, 2**40 + 7))},
    }
    settings["init"] = chance.choice(("he", "he", "glorot", "fan-in", "normal"))
    settings["activation"], settings["pooling"] = chance.choice(ACTIVATIONS), chance.choice(POOLINGS)
    settings["schedule"] = chance.choice(SCHEDULES)
    settings["clip"] = 0.0 if hot else chance.choice((0.0, 1.0, 0.3))
    settings["validation"] = chance.choice((-1, -1, 0, 1, small.train // 3))
    settings["on_divergence"] = chance.choice(("heal", "heal", "heal", "stop", "ignore"))
    return small, settings | _draw_rarer(chance, optimizer, small)


def _draw_rarer(chance: random.Random, optimizer: str, small: Small) -> dict[str, Any]:
    """Return settings that most runs do not change."""
    rarer: dict[str, Any] = {
        "sigma": chance.choice((0.0, 0.01, 1.0)),
        "max_heals": chance.choice((0, 1, 6)),
        "momentum": chance.choice((0.0, 0.5, 1.0)),
        "weight_decay": chance.choice((0.0, 0.1)),
        "label_smoothing": chance.choice((0.1, 0.5)),
        "average": chance.choice((0.5, 0.99)),
        "warmup": chance.choice((0.0, 0.5, 1.0)),
        "decay": chance.choice((0.0, 1.0)),
        "epsilon": chance.choice((0.0, 1e-3)),
        "train_sample": chance.choice((-1, 0, 17)),
        "test_curve": True,
        "memory_limit": 0,
    }
    drawn = {name: value for name, value in rarer.items() if chance.random() < 0.2}
    ranges = {"rotate": 30.0, "shift": 3.5, "zoom": 0.5, "elastic": 2.0}
    if chance.random() < 0.4:
        ranges = dict.fromkeys(ranges, 0.0)
    drawn |= {name: value for name, value in ranges.items() if not value or chance.random() < 0.3}
    if optimizer == "levenberg-marquardt":
        drawn["curvature_samples"] = chance.choice((1, 33, 300))
        drawn["step_limit"] = chance.choice((0.0, 0.01))
    return drawn


def draw_options(chance: random.Random) -> dict[str, Any]:
    """Return options of `train` that change no result, by name."""
    every = {
        "checkpoint-every": chance.choice(("1", "3", "7", "20", "0.002m", "0.0001m")),
        "keep-every": chance.choice((1, 2)),
        "keep-newest": chance.choice((1, 3)),
    }
    drawn = {name: value for name, value in every.items() if chance.random() < 0.45}
    return drawn | {"log-every": chance.choice((1, 1, 3, 10, 50))}
