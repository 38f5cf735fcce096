"""One core: whole training steps and inference, compared in turn with PyTorch and with bare matrix products."""

from statistics import median
from typing import Any

import numpy as np

from distlenet.bench import pytorch
from distlenet.bench.breakdown import time_layers, time_leaf_sizes, time_parts
from distlenet.bench.timing import spread, take_turns
from distlenet.bench.workload import MULTIPLY_ADDS, TRAINING_FLOPS, network, steps
from distlenet.config import Config
from distlenet.parallel import Serial

PEAK_SIZE = 1024
INFERENCE_BATCH = 64


def compare_engines(batch_size: int, shards: int, rounds: int, beside_pytorch: bool) -> dict[str, Any]:
    """Time everything on one core; returns images/s and shares (see ``commands/bench.py``)."""
    plain = Config(batch_size=batch_size, shards=shards, rotate=0.0, shift=0.0, zoom=0.0)
    training, augmented = steps(Serial(), plain), steps(Serial(), Config(batch_size=batch_size, shards=shards))
    net = network()
    x = np.random.Generator(np.random.Philox(1)).standard_normal((1, 28, 28, INFERENCE_BATCH), np.float32)
    a = np.ones((PEAK_SIZE, PEAK_SIZE), np.float32)
    product = np.empty_like(a)

    def infer() -> None:  # the global batch in pieces that fit into the cache
        for _ in range(batch_size // INFERENCE_BATCH):
            net.forward(x)

    tasks = {
        "train": lambda: next(training),
        "train, augmented": lambda: next(augmented),
        "infer": infer,
        "sgemm": lambda: np.matmul(a, a, out=product),
    }
    if beside_pytorch:
        for variant, (train, forward) in pytorch.variants(batch_size).items():
            tasks[f"PyTorch train {variant}"], tasks[f"PyTorch infer {variant}"] = train, forward
    seconds = take_turns(tasks, rounds)
    middle = {name: median(values) for name, values in seconds.items()}
    images = {name: batch_size / value for name, value in middle.items() if name != "sgemm"}
    peak = 2 * PEAK_SIZE**3 / middle["sgemm"]
    ratios = {
        "sgemm_share": images["train"] * TRAINING_FLOPS / peak,
        "inference_sgemm_share": images["infer"] * 2 * MULTIPLY_ADDS / peak,
        "augment_share": 1 - middle["train"] / middle["train, augmented"],
    }
    if beside_pytorch:
        for kind, ratio in (("train", "train_vs_pytorch"), ("infer", "inference_vs_pytorch")):
            ratios[ratio] = images[kind] / max(images[name] for name in images if name.startswith(f"PyTorch {kind}"))
    return {
        "images_per_second": images,
        "milliseconds": {name: {k: 1e3 * v for k, v in spread(values).items()} for name, values in seconds.items()},
        "sgemm_gflops": peak / 1e9,
        "ratios": ratios,
        "layers": time_layers(batch_size // shards, 20 * rounds),
        "parts": time_parts(batch_size, shards, 5 * rounds),
        "leaf_sizes": time_leaf_sizes(rounds, peak),
    }
