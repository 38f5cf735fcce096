"""Small dataset files and IDX files for tests, and the location of MNIST."""

import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from distlenet.data.file.dataset_file import write_digit_file
from distlenet.data.sources.drawing import draw_digits
from distlenet.data.sources.idx import idx_header

Split = tuple[np.ndarray, np.ndarray]
MNIST = Path(os.environ.get("DISTLENET_MNIST") or "/nowhere")
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason="$DISTLENET_MNIST does not name the directory of MNIST")


def write(
    path: Path, train: Split | int, test: Split | int | None = None, classes: Sequence[str] = "0123456789"
) -> Path:
    """Write images and labels, or that many drawn digits; with ``test`` None, the first of ``train`` are repeated."""
    train = draw_digits(train, seed=1) if isinstance(train, int) else train
    test = draw_digits(test, seed=2) if isinstance(test, int) else test or tuple(array[:100] for array in train)
    write_digit_file(path, train=train, test=test, name="drawn", class_names=list(classes), source="drawn by a test")
    return path


def write_again(path: Path, times: int) -> Path:
    """Write the same 600 drawn digits ``times`` times as training images, and 300 test images."""
    images, labels = draw_digits(600, seed=1)
    return write(path, (np.tile(images, (times, 1, 1)), np.tile(labels, times)), 300)


def write_idx(path: str | Path, array: np.ndarray) -> None:
    """Write ``array`` (uint8 or another IDX type, 1 to 4 dimensions); gzip if ``path`` ends in .gz."""
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "wb") as file:
        file.write(idx_header(array) + np.ascontiguousarray(array, array.dtype.newbyteorder(">")).tobytes())
