"""Fit the cost model to a machine: whole steps on one core, and exchanges between two ranks."""

import json
import shlex
import subprocess
from typing import Any

import numpy as np

from distlenet.bench.costmodel import Compute, Traffic, Transport, nodes
from distlenet.bench.exchange import GRADIENT
from distlenet.bench.ranks import run_ranks
from distlenet.bench.timing import spread, take_turns
from distlenet.errors import LaunchError
from distlenet.launching.mpirun import mpi_environment, mpirun_command, python
from distlenet.parallel import owned_shards

# (batch, shards): leaves of 8 to 64, 1 to 32 of them
LAYOUTS = ((8, 1), (32, 1), (64, 1), (64, 8), (256, 4), (256, 8), (256, 32))
TIMEOUT = 120  # seconds for one job


def measure_steps(rounds: int) -> dict[tuple[int, int], list[float]]:
    """Return the seconds of a step on one core by (batch, shards), every round's fastest; the layouts take turns."""
    found: dict[tuple[int, int], list[float]] = {layout: [] for layout in LAYOUTS}
    for _ in range(rounds):
        for batch, shards in LAYOUTS:
            found[batch, shards].append(run_ranks(1, 60, batch, shards)["fastest_step"])
    return found


def measure_addition(floats: int, rounds: int) -> float:
    """Return the lower quartile of the seconds of one addition of two gradients among eight, as the tree does."""
    rows = np.zeros((8, floats), np.float32)

    def add() -> None:
        for place in range(0, 8, 2):
            rows[place] += rows[place + 1]

    return spread(take_turns({"add": add}, rounds)["add"])["low"] / 4


def fit_compute(seconds: dict[tuple[int, int], float], addition: float) -> Compute:
    """Fit the time of a step, least squares of the relative errors."""
    rows, targets = [], []
    for (batch, shards), value in seconds.items():
        rows.append([1 / value, shards / value, batch / value])
        targets.append(1 - (shards - 1) * addition / value)
    fixed, leaf, image = positive(np.array(rows), np.array(targets))
    return Compute(fixed, leaf, image, addition)


def traffic(ranks: int, shards: int, floats: int) -> Traffic:
    """Return what a rank sends and receives in one exchange, all ranks one alike."""
    own = max(nodes(owned_shards(rank, ranks, shards), shards) for rank in range(ranks))
    messages = 2 * (ranks - 1) * (own + 1)
    return Traffic(messages, messages * 4 * floats / ranks, 0.0)


def fit_transport(report: dict[str, Any]) -> Transport:
    """Fit latency, overhead and copying to what ``bench/exchange.py`` printed, least squares of relative errors."""
    rows, targets = [], []
    for floats, shards, value in report["rows"]:
        sent = traffic(report["ranks"], shards, floats)
        rows.append([2 / value, sent.messages / value, sent.sent / value])
        targets.append(1.0)
    return Transport(*positive(np.array(rows), np.array(targets)))


def positive(rows: np.ndarray, targets: np.ndarray) -> list[float]:
    """Return the least squares solution without negative entries: the most negative ones are left out."""
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


def run_exchange(ranks: int, mpirun: str | None = None, repeats: int = 200) -> dict[str, Any]:
    """Run the timed exchange on ``ranks`` ranks, or by the words of ``mpirun``; returns its JSON."""
    prefix = shlex.split(mpirun) if mpirun else [*mpirun_command(ranks), *python()]
    command = [*prefix, "-m", "distlenet.bench.exchange", str(repeats)]
    done = subprocess.run(command, env=mpi_environment(), capture_output=True, text=True, timeout=TIMEOUT, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            return json.loads(line)
    raise LaunchError(f"`{' '.join(command)}` gave no result: {done.stderr.strip()[-500:]}")


def gradient_seconds(report: dict[str, Any]) -> float:
    """Return the time of the exchange of one gradient, a partial sum a rank."""
    return next(
        seconds for floats, shards, seconds in report["rows"] if (floats, shards) == (GRADIENT, report["ranks"])
    )


def fastest(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one report: the smallest of each row over ``reports``, as other programs only ever add time."""
    rows = [[*same[0][:2], min(row[2] for row in same)] for same in zip(*(r["rows"] for r in reports), strict=True)]
    return reports[0] | {"rows": rows}


def measure_rates(ranks: tuple[int, ...], batch: int, shards: int, rounds: int) -> dict[int, list[float]]:
    """Return the seconds of a whole step on so many ranks of this machine, every round's fastest."""
    found: dict[int, list[float]] = {count: [] for count in ranks}
    for _ in range(rounds):
        for count in ranks:
            found[count].append(run_ranks(count, 100, batch, shards)["fastest_step"])
    return found
