"""A peer: one way to train LeNet-5, or to run it, that this trainer is compared with. Every row of the table is one.

All do the same: LeNet-5 in float32 on a batch that waits in memory, normalised and in the layout that the peer
prefers. Training is SGD with Nesterov's momentum and weight decay.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import ClassVar

import numpy as np

from distlenet.parallel import Communicator, Serial

CONVOLUTIONS = ((6, 1, 2), (16, 6, 0))  # of 5 x 5: channels out, channels in, border; each with ReLU and 2 x 2 pooling
DENSE = ((120, 400), (84, 120), (10, 84))  # outputs, inputs; all but the last with ReLU
LR, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4
PIECES = (32, 64, 256)  # images at a time in inference: small pieces stay in the cache


@dataclass(frozen=True)
class Work:
    """A batch of ``batch_size`` images, which distlenet cuts into ``shards`` leaves, for these ``cores``."""

    batch_size: int
    shards: int
    cores: tuple[int, ...]
    comm: Communicator = field(default_factory=Serial)

    def images(self) -> np.ndarray:
        """Return random images (batch, 28, 28) float32 of mean 0 and standard deviation 1."""
        random = np.random.Generator(np.random.Philox(1))
        return random.standard_normal((self.batch_size, 28, 28), np.float32)

    def labels(self) -> np.ndarray:
        """Return random labels (batch,) int64."""
        return np.random.Generator(np.random.Philox(2)).integers(0, 10, self.batch_size)


class Peer:
    """A library in one form, in a process of its own that runs on the cores of its work. Building it may be slow.

    ``name`` is that of its row. ``kinds`` are the tables it takes part in: "train", "infer" and "portable" (training
    with reproducible bits) on one core, "ranks" on several cores, with as many threads or processes as cores.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    by_mpirun: ClassVar[bool] = False  # whether mpirun starts it, one process for each core
    version: str  # of the library, and the CPU features that it uses if it tells
    tasks: dict[str, Callable[[], object]]  # for each kind: take a training step, or infer the batch

    def __init__(self, work: Work) -> None:
        raise NotImplementedError

    def figures(self) -> dict[str, float]:
        """Return figures of the latest calls, in addition to their time."""
        return {}


def in_pieces(batch_size: int, make: Callable[[int], Callable[[], object]]) -> Callable[[], object]:
    """Return the fastest way to infer the batch in equal pieces.

    ``make(n)`` returns a function that infers n images.
    """
    sizes = [size for size in PIECES if size < batch_size and not batch_size % size] + [batch_size]
    return fastest(partial(repeat, make(size), batch_size // size) for size in sizes)


def repeat(call: Callable[[], object], count: int) -> None:
    """Call ``call`` ``count`` times."""
    for _ in range(count):
        call()


def fastest(choices: Iterable[Callable[[], object]], rounds: int = 10) -> Callable[[], object]:
    """Return the one of ``choices`` whose best time in ``rounds`` turns is the shortest."""
    best: dict[Callable[[], object], float] = dict.fromkeys(choices, float("inf"))
    for _ in range(rounds):
        for choice, seconds in best.items():
            choice()
            start = perf_counter()
            choice()
            best[choice] = min(seconds, perf_counter() - start)
    return min(best, key=best.__getitem__)
