"""Fit the cost model to a machine: whole steps on one core, and exchanges between two ranks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from distlenet.bench.exchange import GRADIENT, REPEATS
from distlenet.bench.scaling import Compute, Transport, traffic
from distlenet.bench.timing import last_json, spread, start, take_turns, time_steps

# (batch, shards): leaves of 8 to 64, 1 to 32 of them
LAYOUTS = ((8, 1), (32, 1), (64, 1), (64, 8), (256, 4), (256, 8), (256, 32))


def measure_steps(cases: Sequence[tuple[int, int, int]], steps: int, rounds: int) -> list[list[float]]:
    """Return the seconds of a step for each case (ranks, batch, shards), the fastest of each round, in turn."""
    found: list[list[float]] = [[] for _ in cases]
    for _ in range(rounds):
        for seconds, (ranks, batch, shards) in zip(found, cases, strict=True):
            seconds.append(time_steps(ranks, steps, batch, shards)["fastest_step"])
    return found


def measure_addition(floats: int, rounds: int) -> float:
    """Return the lower quartile of the seconds of one addition of two gradients among eight, as the tree does."""
    rows = np.zeros((8, floats), np.float32)

    def add() -> None:
        for place in range(0, 8, 2):
            rows[place] += rows[place + 1]

    return spread(take_turns({"add": add}, rounds)["add"])["low"] / 4


def fit_compute(seconds: dict[tuple[int, int], float], addition: float) -> Compute:
    """Fit the time of a step by least squares of the relative errors."""
    rows, targets = [], []
    for (batch, shards), value in seconds.items():
        rows.append([1 / value, shards / value, batch / value])
        targets.append(1 - (shards - 1) * addition / value)
    fixed, leaf, image = positive(np.array(rows), np.array(targets))
    return Compute(fixed, leaf, image, addition)


def fit_transport(report: dict[str, Any]) -> Transport:
    """Fit latency, overhead and copying to the output of ``bench/exchange.py`` on at most 8 ranks: in one stage.

    By least squares of relative errors.
    """
    rows, targets = [], []
    for floats, shards, value in report["rows"]:
        (stage,) = traffic(report["ranks"], report["ranks"], shards, floats)
        rows.append([2 / value, stage.messages / value, stage.moved / value])
        targets.append(1.0)
    return Transport(*positive(np.array(rows), np.array(targets)))


def positive(rows: np.ndarray, targets: np.ndarray) -> list[float]:
    """Return the least squares solution without negative entries, by dropping the most negative ones."""
    kept = list(range(rows.shape[1]))
    while True:
        solution = np.linalg.lstsq(rows[:, kept], targets, rcond=None)[0]
        if (solution >= 0).all():
            break
        del kept[int(solution.argmin())]
    result = [0.0] * rows.shape[1]
    for place, value in zip(kept, solution, strict=True):
        result[place] = float(value)
    return result


def run_exchange(ranks: int, mpirun: str | None = None, repeats: int = REPEATS) -> dict[str, Any]:
    """Run the timed exchange on ``ranks`` ranks, or by the words of ``mpirun``; returns its JSON."""
    return last_json(start(ranks, "distlenet.bench.exchange", repeats, mpirun=mpirun))


def gradient_seconds(report: dict[str, Any]) -> float:
    """Return the time of the exchange of one gradient, with one partial sum per rank."""
    return next(
        seconds for floats, shards, seconds in report["rows"] if (floats, shards) == (GRADIENT, report["ranks"])
    )


def fastest(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one report with the smallest value of each row over ``reports``, since other programs only add time."""
    rows = [[*same[0][:2], min(row[2] for row in same)] for same in zip(*(r["rows"] for r in reports), strict=True)]
    return reports[0] | {"rows": rows}
