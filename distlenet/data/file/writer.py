"""Writes a dataset file block by block, so that millions of digits are never in memory at once."""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import h5py
import numpy as np

from distlenet.atomic import replacing, require_space, why_not_written
from distlenet.data.file.hdf5 import hdf5_to
from distlenet.data.file.header import (
    BLOCK_ROWS,
    FORMAT_VERSION,
    LARGEST_SIDE,
    LONGEST_TEXT,
    block_digests,
    fingerprint_of,
    is_name,
)
from distlenet.errors import DataError

LIBRARY = ("v108", "v108")  # headers of format 1.8 have checksums; every HDF5 library since 2008 reads them
Block = tuple[np.ndarray, np.ndarray]  # images uint8 (n, rows, columns), labels uint8 (n,)
Progress = Callable[[str, int, int], None]  # (stage in a few words, done, total or 0 if unknown)


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress: the default."""


@dataclass(frozen=True)
class BlockStream:
    """A split that is generated while it is written: ``count`` images in blocks of any length."""

    count: int
    image_shape: tuple[int, ...]  # (rows, columns)
    blocks: Callable[[], Iterable[Block]]


def write_digit_file(
    path: str | os.PathLike[str],
    *,
    train: Block | BlockStream,
    test: Block | BlockStream,
    name: str,
    class_names: Sequence[str],
    source: str,
    progress: Progress = silent,
) -> str:
    """Write the dataset file ``path`` and return its fingerprint (64 hexadecimal digits).

    ``train`` and ``test`` are (images, labels) with images uint8 (n, rows, columns) and labels uint8 (n,) below
    ``len(class_names)``, or a BlockStream of such blocks. The same arguments give the same file to the last byte.
    The file is written as a whole or not at all: after an error (such as a full disk) an existing ``path`` is
    unchanged. Raises DataError.
    """
    splits = {"train": as_stream(train), "test": as_stream(test)}
    texts = {"name": name, "class_names": json.dumps(list(class_names)), "source": source}
    size = sum(split.count * (math.prod(split.image_shape) + 1) for split in splits.values())
    try:
        _check_splits(splits)
        _check_texts(texts, class_names)
        require_space(path, size)
        with (
            replacing(path, follow_links=True) as temporary,
            open(temporary, "x+b", buffering=0) as raw,
            hdf5_to(raw, LIBRARY) as (file, check),
        ):
            return _write(file, check, splits, texts, progress)
    except DataError as error:
        raise DataError(f"cannot write {path}: {error}") from None
    except OSError as error:
        raise DataError(
            f"cannot write {path} ({size / 1e6:.1f} MB): {why_not_written(error)}; "
            "free some space or choose another path with --out"
        ) from error


def _write(
    file: h5py.File,
    check: Callable[[], None],
    splits: dict[str, BlockStream],
    texts: dict[str, str],
    progress: Progress,
) -> str:
    classes = len(json.loads(texts["class_names"]))
    histogram = np.zeros(256, np.int64)  # of the training pixels: exact sums whatever the block sizes
    digests = []
    for split, stream in splits.items():
        images = file.create_dataset(f"{split}/images", (stream.count, *stream.image_shape), np.uint8)
        labels = file.create_dataset(f"{split}/labels", (stream.count,), np.uint8)
        of_blocks = []
        row = 0
        for block_images, block_labels in _whole_blocks(stream, split, classes):
            stop = row + len(block_labels)
            images[row:stop] = block_images
            labels[row:stop] = block_labels
            check()
            of_blocks.append(block_digests(block_images, block_labels))
            if split == "train":
                histogram += np.bincount(block_images.ravel(), minlength=256)
            row = stop
            progress(f"writing {split}", row, stream.count)
        digests.append(np.concatenate(of_blocks))
        file.create_dataset(f"{split}/sha256", data=digests[-1])
    mean, std = mean_and_std(histogram)
    fingerprint = fingerprint_of(digests)
    file.attrs["format_version"] = np.int64(FORMAT_VERSION)
    file.attrs["pixel_mean"] = np.float64(mean)
    file.attrs["pixel_std"] = np.float64(std)
    # fixed-length bytes are stored in the header and covered by its checksum
    for key, text in {**texts, "fingerprint": fingerprint}.items():
        file.attrs[key] = np.bytes_(text.encode("utf-8"))
    return fingerprint


def as_stream(split: Block | BlockStream) -> BlockStream:
    """Return images and labels in memory as a stream of blocks; return a stream unchanged."""
    if isinstance(split, BlockStream):
        return split
    images, labels = split

    def blocks() -> Iterator[Block]:
        for row in range(0, max(len(images), len(labels)), BLOCK_ROWS):
            yield images[row : row + BLOCK_ROWS], labels[row : row + BLOCK_ROWS]

    return BlockStream(len(labels), images.shape[1:], blocks)


def _whole_blocks(stream: BlockStream, split: str, classes: int) -> Iterator[Block]:
    """Check the stream's blocks and yield them as blocks of BLOCK_ROWS rows."""
    images, labels = np.empty((0, *stream.image_shape), np.uint8), np.empty(0, np.uint8)
    done = 0
    for block in stream.blocks():
        _check_block(*block, done, classes, stream, split)
        done += len(block[1])
        if done > stream.count:
            raise DataError(f"{split} yields more than the {stream.count:,} images that it announced")
        images, labels = np.concatenate([images, block[0]]), np.concatenate([labels, block[1]])
        while len(labels) >= BLOCK_ROWS:
            yield images[:BLOCK_ROWS], labels[:BLOCK_ROWS]
            images, labels = images[BLOCK_ROWS:], labels[BLOCK_ROWS:]
    if done < stream.count:
        raise DataError(f"{split} ended after {done:,} of {stream.count:,} images")
    if len(labels):
        yield images, labels


def _check_splits(splits: dict[str, BlockStream]) -> None:
    for split, stream in splits.items():
        shape = tuple(stream.image_shape)
        if stream.count < 1:
            raise DataError(f"{split} has no images, expected at least one")
        if len(shape) != 2 or not all(1 <= side <= LARGEST_SIDE for side in shape):
            raise DataError(f"{split} images are {shape}, expected (rows, columns) of 1 to {LARGEST_SIDE} each")
        if shape != tuple(splits["train"].image_shape):
            raise DataError(f"training images are {splits['train'].image_shape}, {split} images {shape}")


def _check_texts(texts: dict[str, str], class_names: Sequence[str]) -> None:
    for key, text in texts.items():
        if not text.isprintable() or not 1 <= len(text.encode("utf-8")) <= LONGEST_TEXT:
            raise DataError(f"{key} is {text[:80]!r}, expected one line of 1 to {LONGEST_TEXT:,} bytes")
    if not 2 <= len(set(class_names)) == len(class_names) <= 256:
        raise DataError(f"the class names are {list(class_names)[:20]}, expected 2 to 256 different ones")
    if strange := [name for name in class_names if not is_name(name)]:
        raise DataError(f"a class is named {strange[0]!r:.80}, expected text without control characters")


def _check_block(
    images: np.ndarray, labels: np.ndarray, first_row: int, classes: int, stream: BlockStream, split: str
) -> None:
    expected = (len(labels), *stream.image_shape)
    if images.dtype != np.uint8 or labels.dtype != np.uint8 or labels.ndim != 1 or images.shape != expected:
        raise DataError(
            f"{split} has images {images.dtype} {images.shape} and labels {labels.dtype} {labels.shape}, "
            f"expected uint8 {('n', *stream.image_shape)} and uint8 (n,)"
        )
    wrong = labels >= classes  # (n,)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{split} row {first_row + row} has label {labels[row]}, expected 0 to {classes - 1}")


def mean_and_std(histogram: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation, in units of [0, 1], of pixels counted by value, (256,)."""
    counts = [int(count) for count in histogram]  # Python integers: the sums below are exact
    count = sum(counts)
    total = sum(value * times for value, times in enumerate(counts))
    squares = sum(value * value * times for value, times in enumerate(counts))
    if count * squares == total * total:
        raise DataError("all training pixels are equal, expected images that differ")
    return total / (255 * count), math.sqrt((count * squares - total * total) / (255 * count) ** 2)
