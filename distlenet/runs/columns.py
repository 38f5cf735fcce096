"""The epochs and steps of a run as rows of a table: which columns, and the keys of their figures in a journal's line.

A column has one unit: seconds, images per second, or none; accuracies and shares are from 0 to 1. ``epoch`` counts
from 1, ``steps`` from the start of the run.
"""

from collections.abc import Mapping

from distlenet.runs.record import Line, number

Column = tuple[str, ...]  # the keys of its figure in a line of the journal
COUNTS = ("epoch", "steps", "images")  # whole numbers
SCORES = {
    f"{split}_{figure}": (split, figure)
    for split in ("running", "train", "validation", "test")
    for figure in ("loss", "accuracy")
}
EPOCHS: dict[str, Column] = {
    "epoch": ("epoch",),
    "steps": ("steps",),
    "learning_rate": ("lr",),
    **SCORES,
    "images": ("running", "count"),
    "training_seconds": ("seconds",),  # since the latest start: less than the epoch's where the run was resumed in it
    "evaluation_seconds": ("evaluation_seconds",),
    "images_per_second": ("images_per_second",),
    "exchange_share": ("exchange_share",),
}
STEPS: dict[str, Column] = {
    "epoch": ("epoch",),
    "steps": ("steps",),
    "learning_rate": ("lr",),
    "loss": ("loss",),
    "accuracy": ("accuracy",),
    "images": ("count",),
    "step_seconds": ("seconds",),
    "exchange_seconds": ("exchange_seconds",),
    "load_seconds": ("load_seconds",),
    "compute_seconds": ("compute_seconds",),
}


def cells(columns: Mapping[str, Column], entry: Line) -> list[int | float | None]:
    """Return one row: a number for each of ``columns``, None where the journal has none."""
    values = {name: number(entry, *keys) for name, keys in columns.items()}
    values["epoch"] = None if values["epoch"] is None else values["epoch"] + 1  # the journal counts from 0
    return [int(v) if v is not None and name in COUNTS else v for name, v in values.items()]
