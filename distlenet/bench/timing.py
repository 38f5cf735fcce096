"""Fair timing on a noisy machine: the compared tasks take turns, in this process or as separate jobs."""

import argparse
import json
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import Any

from distlenet.errors import LaunchError
from distlenet.launching.mpirun import mpi_environment, mpirun_command, python

TIMEOUT = 900  # seconds for one job


def take_turns(
    tasks: Mapping[str, Callable[[], object]], rounds: int, repeat: int = 5, warmup: int = 3
) -> dict[str, list[float]]:
    """Time each task ``repeat`` times in a row, all tasks in turn, ``rounds`` times over.

    Returns the seconds of every single call by task.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        for _ in range(warmup):
            task()
    for _ in range(rounds):
        for name, task in tasks.items():
            for _ in range(repeat):
                start = perf_counter()
                task()
                seconds[name].append(perf_counter() - start)
    return seconds


def spread(values: list[float]) -> dict[str, float]:
    """Return the median, the quartiles, and the limit of the fastest tenth."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return {
        **{"median": median(ordered), "low": ordered[quarter], "high": ordered[-1 - quarter]},
        "best_tenth": ordered[len(ordered) // 10],
    }


def as_program(
    configure: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace], int],
    description: str | None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Run a measurement with the options that ``configure`` adds, when started by ``python -m``."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    configure(parser)
    return run(parser.parse_args(arguments))


def start(ranks: int, *words: object, mpirun: str | None = None) -> str:
    """Run ``python -m WORDS`` on ``ranks`` ranks, and return what it prints. Raises LaunchError if it fails.

    ``mpirun``: other words that start Python on the ranks, for example on two hosts.
    """
    ours = [*(mpirun_command(ranks) if ranks > 1 else []), *python()]
    command = [*(shlex.split(mpirun) if mpirun else ours), "-m", *map(str, words)]
    done = subprocess.run(command, env=mpi_environment(), capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise LaunchError(f"`{shlex.join(command)}` failed: {done.stderr.strip()[-500:] or 'without a message'}")
    return done.stdout


def last_json(output: str) -> dict[str, Any]:
    """Return the last JSON object that a job printed on a separate line."""
    found = [line for line in output.splitlines() if line.startswith("{")]
    if not found:
        raise LaunchError(f"a timed job gave no result, but printed: {output.strip()[-500:] or 'nothing'}")
    return json.loads(found[-1])


def time_steps(ranks: int, steps: int, batch_size: int, shards: int) -> dict[str, Any]:
    """Time whole steps on ``ranks`` ranks; returns what ``worker`` prints."""
    return last_json(start(ranks, "distlenet.bench.worker", steps, batch_size, shards))
