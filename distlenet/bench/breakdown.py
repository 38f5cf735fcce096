"""How the time is spent: by layer, by part of the training step, and by leaf size."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from distlenet.bench.timing import take_turns
from distlenet.bench.workload import MULTIPLY_ADDS, TRAINING_FLOPS, Workload, network
from distlenet.config import Config
from distlenet.nn import Net
from distlenet.parallel import Serial

LEAF_SIZES = (8, 16, 32, 64, 128)


class Stopwatch:
    """Adds up the seconds spent in the methods that it times; ``laps`` holds the sums between two calls of ``lap``."""

    def __init__(self) -> None:
        self.laps: dict[str, list[float]] = defaultdict(list)
        self._sums: dict[str, float] = defaultdict(float)

    @contextmanager
    def on(self, name: str, owner: object, method: str) -> Iterator[None]:
        """Time ``owner.method`` as ``name`` within the block."""
        original = getattr(owner, method)

        def timed(*args: Any) -> Any:
            start = perf_counter()
            try:
                return original(*args)
            finally:
                self._sums[name] += perf_counter() - start

        object.__setattr__(owner, method, timed)  # works for a frozen dataclass too
        try:
            yield
        finally:
            object.__delattr__(owner, method)

    def lap(self) -> None:
        """End a lap."""
        for name, seconds in self._sums.items():
            self.laps[name].append(seconds)
        self._sums.clear()

    def medians(self) -> dict[str, float]:
        """Return the median lap of each name, in seconds."""
        return {name: median(seconds) for name, seconds in self.laps.items()}


def _batch(net: Net, samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return random pictures, labels, and an array for the gradient."""
    random = np.random.Generator(np.random.Philox(1))
    x = random.standard_normal((*net.input_shape, samples), np.float32)
    return x, random.integers(0, 10, samples), np.empty(net.size, np.float32)


def time_layers(leaf: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return the microseconds of each layer, forward and backward, for a leaf of that many pictures."""
    net = network()
    batch, watch = _batch(net, leaf), Stopwatch()
    with ExitStack() as stack:
        for layer in net.layers:
            for way in ("forward", "backward"):
                stack.enter_context(watch.on(f"{layer.name} {way}", layer, way))
        for _ in range(rounds):
            net.loss_and_grad(*batch)
            watch.lap()
    middle = watch.medians()
    return {
        layer.name: {way: 1e6 * middle.get(f"{layer.name} {way}", 0.0) for way in ("forward", "backward")}
        for layer in net.layers
    }


def time_parts(batch_size: int, shards: int, rounds: int) -> dict[str, float]:
    """Return milliseconds of each part of a whole training step in one process, with augmentation."""
    work = Workload(Serial(), Config(batch_size=batch_size, shards=shards))
    watch, whole = Stopwatch(), []
    leaves, net = work.leaves, work.state.net
    with (
        watch.on("load", leaves, "load"),
        watch.on("augment", leaves.augmentation, "noise"),
        watch.on("augment", leaves.augmentation, "maps"),
        watch.on("augment", work.resampler, "warp"),
        watch.on("forward", net, "forward"),
        watch.on("backward", net, "backward"),
        watch.on("reduce", work.comm, "allreduce_leaves"),
        watch.on("update", work.state.optimizer, "step"),
    ):
        running = work.steps()
        for turn in range(rounds + 3):
            event = next(running)
            watch.lap()
            whole.append(event.seconds)
            if turn < 3:
                watch.laps.clear()
                whole.clear()
    parts = {name: 1e3 * seconds for name, seconds in watch.medians().items()}
    parts["load"] -= parts["augment"]  # augmentation runs within it
    parts["other"] = 1e3 * median(whole) - sum(parts.values())
    return parts


def time_leaf_sizes(rounds: int, peak: float) -> dict[int, dict[str, float]]:
    """Return images/s of the network alone, training and inference, and their shares of ``peak`` (FLOP/s)."""
    net = network()
    tasks: dict[str, Callable[[], object]] = {}
    for leaf in LEAF_SIZES:
        batch = _batch(net, leaf)
        tasks[f"train {leaf}"] = partial(net.loss_and_grad, *batch)
        tasks[f"infer {leaf}"] = partial(net.forward, batch[0])
    seconds = take_turns(tasks, rounds)
    rates = {
        leaf: {kind: leaf / median(seconds[f"{kind} {leaf}"]) for kind in ("train", "infer")} for leaf in LEAF_SIZES
    }
    for rate in rates.values():
        rate["train_sgemm_share"] = rate["train"] * TRAINING_FLOPS / peak
        rate["infer_sgemm_share"] = rate["infer"] * 2 * MULTIPLY_ADDS / peak
    return rates
