"""What came of a run that is over, read from its directory."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distlenet.training.logbook import counting, read_lines

DEFECTS = {
    "NonFiniteError": "non-finite",
    "DivergedError": "diverged",
}  # failures that the numbers are to blame for, not the machine
CLEARLY = 0.1  # of the way from chance to perfection: below it a network has learned nothing


@dataclass(frozen=True)
class Outcome:
    """The figures of one run of a series."""

    setting: str  # the row of the table it belongs to
    seed: int
    directory: str
    defect: str | None  # "non-finite", "at chance", None: sound
    figures: dict[str, float]  # what was not reached is missing
    heals: int = 0  # times it went back and on from there


def read_summary(directory: str) -> dict[str, Any] | None:
    """Return the summary of a run that is over: complete, or defective beyond repair; None of any other."""
    try:
        summary = json.loads((Path(directory) / "summary.json").read_text(encoding="utf-8"))
        over = summary["status"] == "complete" or summary.get("failure") in DEFECTS
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return summary if over else None


def read_outcome(setting: str, seed: int, directory: str) -> Outcome | None:
    """Return the outcome of the run in ``directory``; None if it is not over."""
    summary = read_summary(directory)
    if summary is None:
        return None
    figures = {
        name: summary[name]
        for name in ("test_accuracy", "test_error", "val_accuracy", "parameters")
        if summary.get(name) is not None
    }
    figures |= timing(read_epochs(directory))
    return Outcome(setting, seed, directory, defect(summary), figures, count_heals(summary))


def defect(summary: dict[str, Any]) -> str | None:
    """Return what is wrong with a run that is over, None if nothing is."""
    if summary.get("failure") in DEFECTS:
        return DEFECTS[summary["failure"]]
    accuracy, chance = summary.get("test_accuracy", math.nan), summary.get("test_chance", 0.0)
    return "at chance" if accuracy < chance + CLEARLY * (1 - chance) else None


def count_heals(summary: dict[str, Any]) -> int:
    """Return how often a run diverged and went back; where it diverged and was ended is not counted."""
    records = summary.get("divergences")
    records = records if isinstance(records, list) else []
    return sum(isinstance(record, dict) and record.get("action") != "stopped" for record in records)


def read_epochs(directory: str) -> list[dict[str, Any]]:
    """Return the journal's lines of epochs that count; damaged ones are left out."""
    try:
        lines, _ = read_lines(Path(directory) / "journal.jsonl")
    except OSError:
        return []
    return counting(lines, "epoch")


def timing(epochs: list[dict[str, Any]]) -> dict[str, float]:
    """Return seconds of the run and of its parts, and images/s, from the journal's ``epochs``.

    An epoch that was interrupted counts as if it had gone through at the speed of its last part. Where that
    had nothing left to train, it has no speed and counts as if it had gone at that of the others; where no
    epoch has one, only the seconds of validation are known.
    """
    if not epochs:
        return {}
    validation = sum(epoch["evaluation_seconds"] for epoch in epochs)
    images = sum(epoch["running"]["count"] for epoch in epochs)
    timed = [(epoch["running"]["count"], epoch["images_per_second"]) for epoch in epochs if epoch["images_per_second"]]
    if not timed:
        return {"validation_seconds": validation}
    speed = sum(count for count, _ in timed) / sum(count / its_speed for count, its_speed in timed)
    training = images / speed
    return {
        "seconds": training + validation,
        "training_seconds": training,
        "validation_seconds": validation,
        "epoch_seconds": (training + validation) / len(epochs),
        "step_seconds": training / epochs[-1]["step"],
        "images_per_second": speed,
    }
