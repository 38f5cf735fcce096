"""``distlenet.Run``: a run and its results."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distlenet.api.caller import as_path
from distlenet.errors import RunDirectoryError
from distlenet.runs.columns import EPOCHS, cells
from distlenet.runs.record import read_record


@dataclass(frozen=True, repr=False)
class Run:
    """A run and its results; it may be given wherever its path may."""

    path: Path  # the run directory
    summary: Mapping[str, Any]  # all figures: what summary.json holds
    history: list[dict[str, Any]]  # a row for each epoch, of plain numbers: for pandas.DataFrame

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, status={self.status!r}, test_accuracy={self.test_accuracy!r})"

    @property
    def status(self) -> str | None:
        """ "complete", or why the run ended; None while it runs."""
        return self.summary.get("status")

    @property
    def test_accuracy(self) -> float | None:
        """Share of the test images that are named right, 0 to 1; None before the run is complete."""
        return self.summary.get("test_accuracy")

    @property
    def validation_accuracy(self) -> float | None:
        """The best share of the validation images named right after an epoch; None if none are held back."""
        return self.summary.get("val_accuracy")

    @property
    def theta_sha256(self) -> str | None:
        """SHA-256 of the parameters after the last step: runs in which it is equal are the same run."""
        return self.summary.get("theta_sha256")

    @property
    def seconds(self) -> float | None:
        """Seconds of training and evaluation, since the run was last started."""
        return self.summary.get("seconds")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Run":
        """Return the run in the directory ``path``, ended or not; damaged or missing parts are left out.

        Raises RunDirectoryError if ``path`` is not a directory.

        >>> distlenet.Run.read("runs/a").history[-1]["validation_accuracy"]
        0.9914
        """
        folder = Path(as_path(path, "path"))
        if not folder.is_dir():
            raise RunDirectoryError(f"there is no run directory {folder}")
        record = read_record(folder, steps=False)
        return cls(record.path, record.summary, rows(record.epochs))


def rows(epochs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a flat row for each of ``epochs``, EpochDone's fields; columns as ``distlenet journal --csv`` has them."""
    entries = [{"steps": entry.get("step"), **entry} for entry in epochs]
    return [dict(zip(EPOCHS, cells(EPOCHS, entry), strict=True)) for entry in entries]
