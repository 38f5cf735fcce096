"""The outcome of a finished run, read from its directory, and statistics of several: mean, spread, confidence."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distlenet.runs.record import Line, Record, number, read_record

# failures caused by the numbers, not by the machine
DEFECTS = {"NonFiniteError": "non-finite", "DivergedError": "diverged"}
TIMED = (("running", "count"), ("images_per_second",), ("evaluation_seconds",), ("step",))
# Student's t distribution: the two-sided 95 % quantiles for 1 to 30 degrees of freedom, as listed in textbooks
STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
NORMAL = 1.959964  # the same quantile of the normal distribution
CLEARLY = 0.1  # share of the way from chance to 100 %; a network below it has not learned anything


@dataclass(frozen=True)
class Outcome:
    """The figures of one run of a series."""

    setting: str  # its row in the table
    seed: int
    directory: str
    defect: str | None  # "non-finite", "diverged", "at chance", or None
    figures: dict[str, float]  # without those that the run did not reach
    heals: int = 0  # how often it went back and continued from there


@dataclass(frozen=True)
class Spread:
    """Statistics of one figure over several runs."""

    mean: float
    deviation: float | None  # sample standard deviation (n - 1); None for a single run
    interval: float | None  # half the width of the 95 % confidence interval of the mean; None for a single run
    least: float
    most: float
    count: int


def is_over(summary: dict[str, Any]) -> bool:
    """Whether a run with this ``summary`` is complete, or defective beyond repair."""
    return summary.get("status") == "complete" or str(summary.get("failure")) in DEFECTS


def read_outcome(setting: str, seed: int, directory: str) -> Outcome | None:
    """Return the outcome of the run in ``directory``, or None if it is not finished."""
    return outcome_of(read_record(Path(directory), steps=False), setting, seed)


def outcome_of(record: Record, setting: str, seed: int) -> Outcome | None:
    """Return the outcome of a run, or None if it is not finished."""
    if not is_over(record.summary):
        return None
    names = ("test_accuracy", "test_error", "val_accuracy", "parameters")
    figures = {name: record.summary[name] for name in names if number(record.summary, name) is not None}
    figures |= timing(record.epochs)
    divergences = record.summary.get("divergences")
    divergences = divergences if isinstance(divergences, list) else []  # the last one may have ended the run
    heals = sum(isinstance(one, dict) and one.get("action") != "stopped" for one in divergences)
    return Outcome(setting, seed, str(record.path), defect(record.summary), figures, heals)


def defect(summary: dict[str, Any]) -> str | None:
    """Return the defect of a finished run, None if it has none."""
    if str(summary.get("failure")) in DEFECTS:
        return DEFECTS[summary["failure"]]
    accuracy, chance = number(summary, "test_accuracy"), number(summary, "test_chance") or 0.0
    return "at chance" if accuracy is not None and accuracy < chance + CLEARLY * (1 - chance) else None


def timing(epochs: list[Line]) -> dict[str, float]:
    """Return seconds of the run and of its parts, and images/s, from the journal's ``epochs``.

    An interrupted epoch counts as if all of it had run at the speed of its last part. If that part had nothing left to
    train, the speed of the other epochs is used. If no epoch has a speed, only the seconds of validation are known.
    """
    rows = [[number(epoch, *keys) for keys in TIMED] for epoch in epochs]
    known = [[value for value in row if value is not None] for row in rows]
    sound = [row for row in known if len(row) == len(TIMED) and row[0] >= 0 < row[3]]  # as a run writes them
    if not sound:
        return {}
    validation = sum(row[2] for row in sound)
    images = sum(row[0] for row in sound)
    timed = [(count, speed) for count, speed, *_ in sound if speed > 0]
    if not any(count for count, _ in timed):
        return {"validation_seconds": validation}
    speed = sum(count for count, _ in timed) / sum(count / its_speed for count, its_speed in timed)
    training = images / speed
    return {
        "seconds": training + validation,
        "training_seconds": training,
        "validation_seconds": validation,
        "epoch_seconds": (training + validation) / len(sound),
        "step_seconds": training / sound[-1][3],
        "images_per_second": speed,
    }


def summarize_series(outcomes: Sequence[Outcome], keep_defective: bool = False) -> dict[str, Any]:
    """Return the figures of a series as JSON values: each run, and for each setting the spread of each figure.

    Defective runs are listed, and left out of the spreads unless ``keep_defective``.
    """
    settings = {}
    for name in dict.fromkeys(outcome.setting for outcome in outcomes):
        runs = [outcome for outcome in outcomes if outcome.setting == name]
        counted = [run.figures for run in runs if keep_defective or run.defect is None]
        figures = dict.fromkeys(figure for run in counted for figure in run)
        settings[name] = {
            "runs": len(runs),
            "defective": [run.seed for run in runs if run.defect],
            "healed": [run.seed for run in runs if run.heals],
            "heals": sum(run.heals for run in runs),
            "figures": {
                figure: asdict(spread([run[figure] for run in counted if figure in run])) for figure in figures
            },
        }
    return {
        "defective_runs": "kept" if keep_defective else "left out",
        "settings": settings,
        "runs": [asdict(outcome) for outcome in outcomes],
    }


def spread(values: Sequence[float]) -> Spread:
    """Return the figures of ``values``, of which there is at least one."""
    count = len(values)
    mean = math.fsum(values) / count
    deviation = interval = None
    if count > 1:
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
        interval = student(count - 1) * deviation / math.sqrt(count)
    return Spread(mean, deviation, interval, min(values), max(values), count)


def student(freedom: int) -> float:
    """Return the two-sided 95 % quantile of Student's t for ``freedom`` (>= 1) degrees of freedom."""
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    z = NORMAL  # beyond the table two terms of its expansion in 1 / freedom are exact to four digits
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
