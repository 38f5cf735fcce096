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
    SPLITS,
    block_count,
)
from distlenet.errors import DataError

DATASETS = tuple(f"{split}/{part}" for split in SPLITS for part in ("images", "labels", "sha256"))


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


def check_signature(path: Path) -> None:
    """Raise DataError unless ``path`` is a file that starts like HDF5."""
    if not path.exists():
        raise DataError(f"there is no dataset {path}; {PREPARE}")
    if not path.is_file():
        raise DataError(f"{path} is not a file, expected a dataset file (HDF5); {PREPARE}")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if start != b"\x89HDF\r\n\x1a\n":
        kind = "is empty" if not start else f"is not HDF5 (it starts with {start!r})"
        raise DataError(f"{path} {kind}, expected a dataset file; {PREPARE}")


def read_header(file: h5py.File, path: Path) -> Header:
    """Check everything but the images and return what the file says of itself; raises DataError."""
    _check_version(file, path)
    for name in (*SPLITS, *DATASETS):  # groups first: a link in the way must not be followed
        _check_link(file, name, path)
    size = path.stat().st_size
    lengths, digests, shapes = {}, {}, {}
    for split in SPLITS:
        images, labels, sums = (
            _dataset(file, f"{split}/{part}", rank, size, path)
            for part, rank in (("images", 3), ("labels", 1), ("sha256", 2))
        )
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
    stored = text(file, "fingerprint", path)
    if stored != fingerprint:
        raise DataError(
            f"{path}: the checksums are damaged (their fingerprint is {fingerprint[:12]}, "
            f"expected {stored[:12]}); {AGAIN}"
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
        missing = ["/" + name for name in DATASETS if _link(file, name) is None]
        said = f"has no {', '.join(missing)}" if missing else "has no attribute format_version"
        raise DataError(f"{path} is an HDF5 file of another kind: it {said}{_nan(file)}; {PREPARE}")
    stored = file.attrs.get_id("format_version")
    if stored.shape != () or stored.dtype.kind not in "iu":
        raise DataError(f"{path}: format_version is {stored.dtype}, expected an integer; {AGAIN}")
    version = int(file.attrs["format_version"])
    if version != FORMAT_VERSION:
        age = "a newer" if version > FORMAT_VERSION else "an older"
        raise DataError(f"{path} has {age} format ({version}, expected {FORMAT_VERSION}); {AGAIN}")


def _link(file: h5py.File, name: str) -> object | None:
    """Return the kind of link that ``name`` is, following only hard links on the way; None: no such."""
    split, _, part = name.partition("/")
    link = file.get(split, getlink=True)
    if not part or not isinstance(link, h5py.HardLink):
        return link
    group = file[split]
    return group.get(part, getlink=True) if isinstance(group, h5py.Group) else None


def _check_link(file: h5py.File, name: str, path: Path) -> None:
    link = _link(file, name)
    if link is None:
        raise DataError(f"{path} has no /{name}; {AGAIN}")
    if not isinstance(link, h5py.HardLink):
        kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
        raise DataError(f"{path}: /{name} is {kind}, expected the data itself; {AGAIN}")


def _dataset(file: h5py.File, name: str, rank: int, file_size: int, path: Path) -> h5py.Dataset:
    """Return the dataset ``name`` if it is plain bytes inside this file."""
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"{path}: /{name} is not a dataset; {AGAIN}")
    if dataset.dtype != np.uint8:
        raise DataError(f"{path}: /{name} holds {dataset.dtype}, expected uint8{_nan(file)}; {AGAIN}")
    if dataset.shape is None or dataset.ndim != rank:
        raise DataError(f"{path}: /{name} has shape {dataset.shape}, expected {rank} dimensions; {AGAIN}")
    layout = dataset.id.get_create_plist().get_layout()
    if dataset.external or dataset.is_virtual:
        raise DataError(f"{path}: /{name} is kept in other files, expected the data itself; {AGAIN}")
    if layout != h5py.h5d.CONTIGUOUS:
        raise DataError(
            f"{path}: /{name} is chunked or compressed, expected contiguous data; "
            f"{AGAIN}, or rewrite it with `h5repack -l CONTI -f NONE`"
        )
    offset, size = dataset.id.get_offset(), math.prod(dataset.shape)
    if size and (offset is None or offset + size > file_size):
        raise DataError(
            f"{path}: /{name} claims {size:,} bytes that are not in the file of {file_size:,} bytes; {AGAIN}"
        )
    return dataset


def _nan(file: h5py.File) -> str:
    """Return `` (NaN in row 3 ...)`` when the first rows of a foreign file's images hold a NaN."""
    for split in SPLITS:
        if not isinstance(_link(file, f"{split}/images"), h5py.HardLink):
            continue
        images = file[f"{split}/images"]
        plain = isinstance(images, h5py.Dataset) and not images.external and not images.is_virtual
        if not plain or images.dtype.kind != "f" or images.ndim != 3:
            continue
        if math.prod(images.shape[1:]) > LARGEST_SIDE**2:
            continue
        wrong = ~np.isfinite(images[:100]).reshape(min(100, len(images)), -1).all(1)
        if wrong.any():
            return f" (and /{split}/images row {int(wrong.argmax())} holds NaN or infinity)"
    return ""
