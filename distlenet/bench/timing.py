"""Fair timing on a noisy machine: the things compared take turns within one run."""

from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter


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
    """Return the median and the quartiles."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return {"median": median(ordered), "low": ordered[quarter], "high": ordered[-1 - quarter]}
