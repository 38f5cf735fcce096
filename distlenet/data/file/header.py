"""The header of a dataset file: limits, attributes and checksums, all checked before any image is read.

The file is untrusted: everything is first checked against the file's real size and fixed limits, and no link out of
the file is followed. Images are not read here; opening takes a few milliseconds for any size.

There is one SHA-256 digest per block of 1,000 rows, so a rank verifies only the blocks of its own shard. The
fingerprint of the whole file is the SHA-256 of the digests, so identifying the data costs nothing.
"""

import hashlib
import json
import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import h5py
import numpy as np

from distlenet.activity import advance
from distlenet.data.file.hdf5 import ForeignError, attribute, datasets, missing_or_linked

FORMAT_VERSION = 1
BLOCK_ROWS = 1000
DIGEST_BYTES = 32
SPLITS = ("train", "test")
LARGEST_SIDE = 512  # pixels; far larger than any network's input, small enough to bound every read
LONGEST_TEXT = 30_000  # bytes of an attribute, so that it fits into the checksummed header
RANKS = {"images": 3, "labels": 1, "sha256": 2}  # the dimensions of each dataset of a split
DATASETS = tuple(f"{split}/{part}" for split in SPLITS for part in RANKS)


class AnotherKindError(ForeignError):
    """An HDF5 file that is not a dataset file."""


@dataclass
class Header:
    """The metadata of a dataset file."""

    name: str
    class_names: tuple[str, ...]
    source: str  # a sentence on the origin of the data
    mean: float  # of the training pixels, in units of [0, 1]
    std: float
    image_shape: tuple[int, int]  # (rows, columns)
    lengths: dict[str, int]  # images of each split
    sums: dict[str, np.ndarray]  # the digests of each split, uint8 (blocks, 32)
    fingerprint: str  # identifies the data


def block_digests(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the digests, uint8 (blocks, 32), of rows that start at a block boundary.

    ``images`` is C-contiguous uint8 (n, rows, columns), ``labels`` is uint8 (n,). A digest is the
    SHA-256 of the block's image bytes followed by its label bytes.
    """
    digests = np.empty((_block_count(len(labels)), DIGEST_BYTES), np.uint8)
    for block in range(len(digests)):
        rows = slice(block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS)
        digest = hashlib.sha256(images[rows].data)
        digest.update(labels[rows].data)
        digests[block] = np.frombuffer(digest.digest(), np.uint8)
        advance()
    return digests


def fingerprint_of(digests: Iterable[np.ndarray]) -> str:
    """Return the SHA-256, in hexadecimal, of the digests of all splits (train, then test)."""
    whole = hashlib.sha256()
    for of_split in digests:  # (blocks, 32) each
        whole.update(np.ascontiguousarray(of_split).data)
    return whole.hexdigest()


def is_name(name: object) -> bool:
    """Whether ``name`` is text without control characters (a terminal would obey them) and lone surrogates."""
    return isinstance(name, str) and not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)


def read_header(file: h5py.File) -> Header:
    """Check everything but the images and return the header.

    Raises AnotherKindError, ForeignError with the fault, or whatever h5py raises on damaged files.
    """
    _check_version(file)
    stored = _datasets(file)
    lengths, sums, shapes = {}, {}, {}
    for split in SPLITS:
        images, labels, digests = (stored[f"{split}/{part}"] for part in RANKS)
        if len(images) != len(labels):
            raise ForeignError(
                f"/{split}/images has {len(images):,} rows and /{split}/labels {len(labels):,}, expected equal numbers"
            )
        if len(images) == 0:
            raise ForeignError(f"the split {split} is empty, expected at least one image")
        if digests.shape != (expected := (_block_count(len(images)), DIGEST_BYTES)):
            raise ForeignError(f"/{split}/sha256 is {digests.shape}, expected {expected} for {len(images):,} rows")
        lengths[split], sums[split], shapes[split] = len(images), digests[()], images.shape[1:]
    if shapes["train"] != shapes["test"]:
        raise ForeignError(f"training images are {shapes['train']}, test images {shapes['test']}")
    if not all(1 <= side <= LARGEST_SIDE for side in shapes["train"]):
        raise ForeignError(f"images are {shapes['train']}, expected sides of 1 to {LARGEST_SIDE} pixels")
    found, stored_one = fingerprint_of(sums.values()), _text(file, "fingerprint")
    if found != stored_one:
        raise ForeignError(f"the checksums are damaged (their fingerprint is {found[:12]}, expected {stored_one[:12]})")
    return Header(
        name=_text(file, "name"),
        class_names=_class_names(file),
        source=_text(file, "source"),
        mean=_number(file, "pixel_mean", 0.0),
        std=_number(file, "pixel_std", 1e-6),
        image_shape=shapes["train"],
        lengths=lengths,
        sums=sums,
        fingerprint=found,
    )


def _block_count(rows: int) -> int:
    """Return the number of blocks of ``rows`` rows; the last block may be short."""
    return -(-rows // BLOCK_ROWS)


def _check_version(file: h5py.File) -> None:
    version = attribute(file, "format_version", LONGEST_TEXT)
    if version is None:
        # in a foreign file no link is followed to find this out: only names are compared
        missing = ["/" + name for name in DATASETS if missing_or_linked(file, name).endswith("missing")]
        reason = f"has no {', '.join(missing)}" if missing else "has no attribute format_version"
        raise AnotherKindError(f"it {reason}{_nan(file)}")
    if not isinstance(version, np.integer):
        raise ForeignError(f"format_version is {type(version).__name__}, expected an integer")
    if version != FORMAT_VERSION:
        age = "a newer" if version > FORMAT_VERSION else "an older"
        raise ForeignError(f"it has {age} format ({version}, expected {FORMAT_VERSION})")


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the six datasets, each plain bytes inside this file, with the right type and dimensions."""
    stored = datasets(file, DATASETS)
    for name, dataset in stored.items():
        rank = RANKS[name.partition("/")[2]]
        if dataset.dtype != np.uint8:
            raise ForeignError(f"/{name} holds {dataset.dtype}, expected uint8{_nan(file)}")
        if dataset.ndim != rank:
            raise ForeignError(f"/{name} has shape {dataset.shape}, expected {rank} dimensions")
    return stored


def _nan(file: h5py.File) -> str:
    """Return " (and /train/images row 3 holds NaN or infinity)" if a foreign file's first images hold one, else ""."""
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


def _attribute(file: h5py.File, name: str) -> str | bytes | np.generic:
    value = attribute(file, name, LONGEST_TEXT)
    if value is None:
        raise ForeignError(f"it has no attribute {name}")
    return value


def _text(file: h5py.File, name: str) -> str:
    """Return the attribute ``name``: one printable line of UTF-8."""
    value = _attribute(file, name)
    try:
        line = value.decode("utf-8") if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        line = None
    if not isinstance(line, str) or not line.isprintable():
        raise ForeignError(f"the attribute {name} is not a line of text")
    return line


def _number(file: h5py.File, name: str, least: float) -> float:
    """Return the attribute ``name``: a floating-point number from ``least`` to 1."""
    value = _attribute(file, name)
    if not isinstance(value, np.floating) or not least <= value <= 1:
        raise ForeignError(f"the attribute {name} is {value!r}, expected {least:g} to 1")
    return float(value)


def _class_names(file: h5py.File) -> tuple[str, ...]:
    """Return the attribute ``class_names``, which is JSON."""
    line = _text(file, "class_names")
    try:
        names = json.loads(line)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not 2 <= len(names) <= 256 or not all(map(is_name, names)):
        raise ForeignError("class_names is not a JSON list of 2 to 256 names without control characters")
    return tuple(names)
