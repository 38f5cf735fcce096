"""What came of a run that is over, read from its directory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distlenet.bounded import read_json
from distlenet.training.logbook import counting, number, read_lines

DEFECTS = {
    "NonFiniteError": "non-finite",
    "DivergedError": "diverged",
}  # failures that the numbers are to blame for, not the machine
TIMED = (("running", "count"), ("images_per_second",), ("evaluation_seconds",), ("step",))
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
        summary = read_json(Path(directory) / "summary.json")
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
        if number(summary, name) is not None
    }
    figures |= timing(read_epochs(directory))
    return Outcome(setting, seed, directory, defect(summary), figures, count_heals(summary))


def defect(summary: dict[str, Any]) -> str | None:
    """Return what is wrong with a run that is over, None if nothing is."""
    if str(summary.get("failure")) in DEFECTS:
        return DEFECTS[summary["failure"]]
    accuracy, chance = number(summary, "test_accuracy"), number(summary, "test_chance") or 0.0
    return "at chance" if accuracy is not None and accuracy < chance + CLEARLY * (1 - chance) else None


def count_heals(summary: dict[str, Any]) -> int:
    """Return how often a run diverged and went back; where it diverged and was ended is not counted."""
    records = summary.get("divergences")
    records = records if isinstance(records, list) else []
    return sum(isinstance(record, dict) and record.get("action") != "stopped" for record in records)


def read_epochs(directory: str) -> list[dict[str, Any]]:
    """Return the journal's lines of epochs that count; damaged ones are left out."""
    try:
        lines, _ = read_lines(Path(directory) / "journal.jsonl", steps=False)
    except OSError:
        return []
    return counting(lines, "epoch")


def timing(epochs: list[dict[str, Any]]) -> dict[str, float]:
    """Return seconds of the run and of its parts, and images/s, from the journal's ``epochs``.

    An epoch that was interrupted counts as if it had gone through at the speed of its last part. Where that
    had nothing left to train, it has no speed and counts as if it had gone at that of the others; where no
    epoch has one, only the seconds of validation are known.
    """
    rows = [[number(epoch, *keys) for keys in TIMED] for epoch in epochs]
    sound = [row for row in rows if None not in row and row[0] >= 0 < row[3]]  # others were not written by a run
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
