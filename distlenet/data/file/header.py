"""What a dataset file must be before a single row of it is read.

The file may come from anywhere: everything is checked against the file's real size and against fixed
limits first, and nothing outside the file is followed. Images are not read here; opening takes a
few milliseconds whatever the size.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from distlenet.data import digitblocks
from distlenet.data.digitattributes import AGAIN, PREPARE, class_names, number, text
from distlenet.data.digitblocks import (
    DIGEST_BYTES,
    FORMAT_VERSION,
    LARGEST_SIDE,
    LONGEST_TEXT,
    SPLITS,
    block_count,
)
from distlenet.data.file.hdf5 import ForeignError, attribute, datasets, missing_or_linked
from distlenet.errors import DataError

RANKS = {"images": 3, "labels": 1, "sha256": 2}  # the dimensions of each dataset of a split
DATASETS = tuple(f"{split}/{part}" for split in SPLITS for part in RANKS)


@dataclass(frozen=True)
class Header:
    """All of a dataset file but its images and labels."""

    name: str
    class_names: tuple[str, ...]
    source: str
    mean: float  # of the training pixels, in units of [0, 1]
    std: float
    image_shape: tuple[int, int]  # (rows, columns)
    lengths: dict[str, int]  # images of each split
    digests: dict[str, np.ndarray]  # uint8 (blocks, 32) of each split
    fingerprint: str


def read_header(file: h5py.File, path: Path) -> Header:
    """Check everything but the images and return what the file says of itself; raises DataError."""
    _check_version(file, path)
    stored = _datasets(file, path)
    lengths, digests, shapes = {}, {}, {}
    for split in SPLITS:
        images, labels, sums = (stored[f"{split}/{part}"] for part in RANKS)
        if len(images) != len(labels):
            raise DataError(
                f"{path}: /{split}/images has {len(images):,} rows and /{split}/labels {len(labels):,}, "
                f"expected as many; {AGAIN}"
            )
        if len(images) == 0:
            raise DataError(f"{path}: the split {split} is empty, expected at least one image; {AGAIN}")
        if sums.shape != (block_count(len(images)), DIGEST_BYTES):
            raise DataError(
                f"{path}: /{split}/sha256 is {sums.shape}, expected "
                f"({block_count(len(images))}, {DIGEST_BYTES}) for {len(images):,} rows; {AGAIN}"
            )
        lengths[split], digests[split], shapes[split] = len(images), sums[()], images.shape[1:]
    if shapes["train"] != shapes["test"]:
        raise DataError(f"{path}: training images are {shapes['train']}, test images {shapes['test']}; {AGAIN}")
    if not all(1 <= side <= LARGEST_SIDE for side in shapes["train"]):
        raise DataError(f"{path}: images are {shapes['train']}, expected sides of 1 to {LARGEST_SIDE} pixels; {AGAIN}")
    fingerprint = digitblocks.fingerprint(digests[split] for split in SPLITS)
    expected = text(file, "fingerprint", path)
    if expected != fingerprint:
        raise DataError(
            f"{path}: the checksums are damaged (their fingerprint is {fingerprint[:12]}, "
            f"expected {expected[:12]}); {AGAIN}"
        )
    return Header(
        name=text(file, "name", path),
        class_names=class_names(file, path),
        source=text(file, "source", path),
        mean=number(file, "pixel_mean", path, 0.0),
        std=number(file, "pixel_std", path, 1e-6),
        image_shape=shapes["train"],
        lengths=lengths,
        digests=digests,
        fingerprint=fingerprint,
    )


def _check_version(file: h5py.File, path: Path) -> None:
    if "format_version" not in file.attrs:
        # in a foreign file no link is followed to find out: names are compared, nothing is opened
        missing = ["/" + name for name in DATASETS if missing_or_linked(file, name).endswith("missing")]
        reason = f"has no {', '.join(missing)}" if missing else "has no attribute format_version"
        raise DataError(f"{path} is an HDF5 file of another kind: it {reason}{_nan(file)}; {PREPARE}")
    version = attribute(file, "format_version", LONGEST_TEXT)
    if not isinstance(version, np.integer):
        raise DataError(f"{path}: format_version is {type(version).__name__}, expected an integer; {AGAIN}")
    if version != FORMAT_VERSION:
        age = "a newer" if version > FORMAT_VERSION else "an older"
        raise DataError(f"{path} has {age} format ({version}, expected {FORMAT_VERSION}); {AGAIN}")


def _datasets(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """Return the six datasets, each plain bytes inside this file, of the right type and dimensions."""
    try:
        stored = datasets(file, DATASETS)
    except ForeignError as error:
        repack = ", or rewrite it with `h5repack -l CONTI -f NONE`" if "chunked" in str(error) else ""
        raise DataError(f"{path}: {error}; {AGAIN}{repack}") from error
    for name, dataset in stored.items():
        rank = RANKS[name.partition("/")[2]]
        if dataset.dtype != np.uint8:
            raise DataError(f"{path}: /{name} holds {dataset.dtype}, expected uint8{_nan(file)}; {AGAIN}")
        if dataset.ndim != rank:
            raise DataError(f"{path}: /{name} has shape {dataset.shape}, expected {rank} dimensions; {AGAIN}")
    return stored


def _nan(file: h5py.File) -> str:
    """Return `` (NaN in row 3 ...)`` when the first rows of a foreign file's images hold a NaN."""
    for split in SPLITS:
        try:
            images = datasets(file, [f"{split}/images"])[f"{split}/images"]
        except ForeignError:
            continue
        if images.dtype.kind != "f" or images.ndim != 3 or math.prod(images.shape[1:]) > LARGEST_SIDE**2:
            continue
        wrong = ~np.isfinite(images[:100]).reshape(min(100, len(images)), -1).all(1)
        if wrong.any():
            return f" (and /{split}/images row {int(wrong.argmax())} holds NaN or infinity)"
    return ""
