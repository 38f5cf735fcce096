"""How fast does each rank train: all at once, and one after another on each machine? Which is the slowest, and why?"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import takewhile
from typing import Any

from distlenet.doctor.known import SETTINGS, Drawn, train_again_and_again
from distlenet.parallel import Communicator
from distlenet.runs.slow_causes import Stretch, crowds, find_cause, usual
from distlenet.runs.usage import Meter, machine
from distlenet.training.events import StepDone

TOGETHER = 1.0  # seconds in which all ranks train
ALONE, ALL_TURNS = 0.5, 8.0  # seconds of each turn; of all turns on a machine
REST = 0.1  # share of a turn that stays empty: ranks start and end it at slightly different times
ALIKE = 1.1  # a rank that needs less than this times as long as the others is not slow


def measure(comm: Communicator) -> list[dict[str, Any]]:
    """Let all ranks train, without an exchange; a collective operation.

    Returns the times of each rank: ``together``, a Stretch as JSON, and ``alone``, its seconds for a leaf.
    """
    training, meter, home, leaves = train_again_and_again(Drawn()), Meter(), machine(), SETTINGS["shards"]
    list(until(training, 0.1))  # much happens for the first time
    homes = comm.allgather(home)
    meter.read(search=True)
    steps = list(until(training, TOGETHER))
    together = Stretch.of_steps(steps, comm.rank, leaves, meter.read(search=True))
    turns = max(homes.count(each) for each in homes)
    turn, place = min(ALONE, ALL_TURNS / turns), homes[: comm.rank].count(home)
    comm.allgather(None)  # all count from now; they sleep until their turn, because waiting for a message takes a core
    start = time.perf_counter()
    time.sleep(turn * (place + REST / 2))
    steps = list(until(training, turn * (1 - REST)))
    alone = Stretch.of_steps(steps, comm.rank, leaves, meter.read()).leaf
    time.sleep(max(0.0, start + turn * turns - time.perf_counter()))
    return comm.allgather({"together": asdict(together), "alone": alone})


def until(training: Iterator[StepDone], seconds: float) -> Iterator[StepDone]:
    """Yield the steps of the next ``seconds``, at least one."""
    end = time.perf_counter() + seconds
    yield next(training)
    yield from takewhile(lambda _: time.perf_counter() < end, training)


def judge(paces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the slowest rank of ``measure``: rank, host, cores, leaf and usual (seconds), cause, and a sentence."""
    row = [Stretch.of(pace["together"]) for pace in paces]
    slowest = max(row, key=lambda part: part.leaf)
    rank, cores, others = slowest.rank, slowest.usage.cores, usual(row, slowest.rank, "leaf")
    text = (
        f"rank {rank} on {slowest.host} (core{'s' * (not cores.isdecimal())} {cores}): {1e3 * slowest.leaf:.2f} ms for "
        f"a leaf, the others {1e3 * others:.2f} ms; alone {1e3 * paces[rank]['alone']:.2f} ms"
    )
    found = {"rank": rank, "host": slowest.host, "cores": cores, "leaf": slowest.leaf, "usual": others}
    if slowest.leaf < ALIKE * others and not crowds(row):
        return found | {"cause": None, "text": f"{text}; the ranks are about equally fast"}
    cause = find_cause(row, rank)
    return found | {"cause": cause.word, "text": f"{text}; likely cause: {cause.text}"}


def times(pace: Mapping[str, Any] | None) -> dict[str, float] | None:
    """Return the seconds for a leaf, training all at once and alone; None if this was not measured."""
    return {"together": Stretch.of(pace["together"]).leaf, "alone": pace["alone"]} if pace else None
