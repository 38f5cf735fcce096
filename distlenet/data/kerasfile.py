"""The ``mnist.npz`` that keras keeps: four .npy arrays in a zip, read without numpy's loader.

The shapes are known, so each header is compared before memory is taken, and a pickled object in the
archive is refused for its type.
"""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from distlenet.errors import DataError

KERAS_FILE = "mnist.npz"
MEMBERS = ("x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy")


def read_keras_file(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> list[np.ndarray]:
    """Return the four uint8 arrays of MEMBERS, in that order; ``shapes`` maps what each is to its shape.

    Raises DataError: not a zip, a member is missing, of another type or shape, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = []
            for member, shape in zip(MEMBERS, shapes.values(), strict=True):
                with archive.open(member) as file:
                    arrays.append(_read_array(file, f"{member} in {path}", shape))
            return arrays
    except KeyError as error:
        raise DataError(f"{path} is not keras' MNIST: {error.args[0]}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}; get the file again") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _read_array(file: BinaryIO, where: str, shape: tuple[int, ...]) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise DataError(f"{where} has .npy version {version}, expected (1, 0)")
    found, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    if found != shape or dtype != np.uint8 or by_columns:
        raise DataError(f"{where} is {dtype} {found}, expected uint8 {shape} row by row")
    size = int(np.prod(shape))
    data = file.read(size)
    if len(data) != size or file.read(1):
        raise DataError(f"{where} does not have the {size:,} bytes its header says; get the file again")
    return np.frombuffer(data, np.uint8).reshape(shape)
