"""The attributes of a dataset file, each checked for type, size and range as it is read."""

import json
import unicodedata
from pathlib import Path

import h5py
import numpy as np

from distlenet.data.digitblocks import LONGEST_TEXT
from distlenet.data.file.hdf5 import ForeignError, attribute
from distlenet.errors import DataError

AGAIN = "make it again with `distlenet prepare ... --force`"
PREPARE = "make one with `distlenet prepare mnist`"


def _attribute(file: h5py.File, name: str, path: Path) -> object:
    try:
        value = attribute(file, name, LONGEST_TEXT)
    except ForeignError as error:
        raise DataError(f"{path}: {error}; {AGAIN}") from error
    if value is None:
        raise DataError(f"{path} has no attribute {name}; {AGAIN}")
    return value


def text(file: h5py.File, name: str, path: Path) -> str:
    """Return the attribute ``name``: one printable line of UTF-8; raises DataError."""
    value = _attribute(file, name, path)
    try:
        line = value.decode("utf-8") if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        line = None
    if not isinstance(line, str) or not line.isprintable():
        raise DataError(f"{path}: the attribute {name} is not a line of text; {AGAIN}")
    return line


def number(file: h5py.File, name: str, path: Path, least: float) -> float:
    """Return the attribute ``name``: a floating-point number of ``least`` to 1; raises DataError."""
    value = _attribute(file, name, path)
    if not isinstance(value, np.floating) or not least <= value <= 1:
        raise DataError(f"{path}: the attribute {name} is {value!r}, expected {least:g} to 1; {AGAIN}")
    return float(value)


def class_names(file: h5py.File, path: Path) -> tuple[str, ...]:
    """Return the attribute ``class_names``, which is JSON; raises DataError."""
    try:
        names = json.loads(text(file, "class_names", path))
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not 2 <= len(names) <= 256 or not all(map(is_name, names)):
        raise DataError(f"{path}: class_names is not a JSON list of 2 to 256 names without control characters; {AGAIN}")
    return tuple(names)


def is_name(name: object) -> bool:
    """Tell whether ``name`` is text without control characters, which a terminal would obey, and half characters."""
    return isinstance(name, str) and not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
