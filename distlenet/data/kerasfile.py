"""The ``mnist.npz`` that keras keeps: four arrays of known shapes, so a file that holds others is refused unread."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from distlenet.data.sources.npz_archive import Archive
from distlenet.errors import DataError

KERAS_FILE = "mnist.npz"
MEMBERS = ("x_train", "y_train", "x_test", "y_test")


def read_keras_file(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> list[np.ndarray]:
    """Return the four uint8 arrays of MEMBERS, in that order; ``shapes`` maps what each is to its shape.

    Raises DataError: not a zip, a member is missing, of another type or shape, or damaged.
    """
    try:
        with Archive(path) as archive:
            missing = [name for name in MEMBERS if name not in archive.names]
            if missing:
                there = ", ".join(archive.names[:8]) or "nothing"
                raise DataError(f"{path} is not keras' MNIST: it has no {missing[0]}, but {there}")
            for name, shape in zip(MEMBERS, shapes.values(), strict=True):
                header = archive.header(name)
                if (header.dtype, header.shape, header.by_columns) != (np.uint8, shape, False):
                    raise DataError(f"{name} in {path} is {header}, expected uint8 {shape} row by row")
            return list(archive.arrays(MEMBERS).values())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
