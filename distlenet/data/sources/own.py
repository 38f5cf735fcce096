"""A user-defined dataset format: a function from a path to arrays like those of an .npz archive."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distlenet.data.file.writer import Progress
from distlenet.data.sources.dataset import SEED, SPLITS, Dataset, as_labels, as_pictures, divided, one_size, roles
from distlenet.data.sources.numbers import as_blocks
from distlenet.errors import DataError
from distlenet.own_code import load, running
from distlenet.trust import Trust

EXPECTED = "expected a dict of arrays: x_train, y_train, x_test, y_test, or images, labels"


def read_own(
    place: Path | None,
    progress: Progress,
    *,
    code: str,
    trust: Trust,
    size: tuple[int, int] | None = None,
    share: float = 0.2,
    seed: int = SEED,
) -> Dataset:
    """Read the dataset that the user's function ``code`` returns for ``place``, the Path that --from names, or None.

    The function returns a dict of arrays, or of objects that can be converted. Images are (n, rows, columns), or
    (n, pixels) in the shape ``size`` or square, or have an additional axis of 1 or 3 colours; they are whole numbers or
    floats from 0 (paper) to 255 (ink), or from 0 to 1. Labels are (n,) whole numbers. The names are those of an .npz
    archive: x_train and y_train, and likewise for test and validation; or images and labels, from which ``share``
    become test images. The training images are shuffled with ``seed``.

    Raises UntrustedCodeError or ConfigError if the code cannot be loaded; DataError if it fails or returns other data.
    """
    read, source = load(code, trust, "format", "place")
    what = f"format {code}"
    progress(f"running {code}", 0, 1)
    with running(f"{what} with --from {place}" if place else f"{what} without --from", DataError):
        arrays = _as_arrays(read(place))
    progress(f"running {code}", 1, 1)
    pairs = _pairs(arrays, what)
    where = {split: (f"{images} of {what}", f"{labels} of {what}") for split, (images, labels) in pairs.items()}
    raw = {}
    for split, (image, label) in pairs.items():
        images = as_pictures(arrays[image], size, where[split][0])
        raw[split] = images, as_labels(arrays[label], len(images), where[split][1])
    one_size([images for images, _ in raw.values()], what)
    blocks, class_names = as_blocks(raw, where)
    used = {name for pair in pairs.values() for name in pair}
    notes = [f"skipped: {', '.join(arrays.keys() - used)}"] if arrays.keys() - used else []
    by = f"read by {source.function} of {Path(source.place).name}, SHA-256 {source.sha256:.12}"
    name = place.stem if place else source.function
    return divided(blocks, place or Path(code), share, seed, name, class_names, by, notes)


def _as_arrays(found: Any) -> dict[str, np.ndarray]:
    """Return what the function returned as arrays by name; raises DataError."""
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise DataError(f"returned {type(found).__name__}, {EXPECTED}")
    return {name: np.asarray(value) for name, value in found.items()}


def _pairs(arrays: dict[str, np.ndarray], what: str) -> dict[str, tuple[str, str]]:
    """Return the names of images and labels by split; raises DataError unless each split has one of both."""
    known, pairs = roles(arrays), {}
    for split in SPLITS:
        images, labels = (known.get((split, kind), []) for kind in ("images", "labels"))
        if len(images) == len(labels) == 1:
            pairs[split] = images[0], labels[0]
        elif images or labels:
            pairs.clear()
            break
    if "train" not in pairs:
        listed = ", ".join(f"{name} ({array.dtype} {array.shape})" for name, array in arrays.items()) or "nothing"
        raise DataError(f"{what} returned {listed}, {EXPECTED}")
    return pairs
