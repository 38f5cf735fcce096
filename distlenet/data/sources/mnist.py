"""MNIST: the four published files, where a machine may already have them, and how they are verified.

What is checked is the content: the .gz files in circulation were packed by different programs, the
numbers inside are the same everywhere. Published MD5 of the original .gz files, in the order of FILES:
f68b3c2dcbeaaa9fbdd348bbdeb94873, d53e105ee54ea40749a09fcbcd1e9432, 9fb629c4189551a2d022fa330f9573f3,
ec29112dd5afa0611ce80d1b7f02629c.
"""

import math
import os
from argparse import ArgumentTypeError
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distlenet.data.file.kind import kind_of
from distlenet.data.file.writer import Progress, silent
from distlenet.data.kerasfile import KERAS_FILE, read_keras_file
from distlenet.data.sources.idx import idx_sha256, read_idx
from distlenet.errors import DataError
from distlenet.paths import as_path, home

CLASS_NAMES = tuple("0123456789")
SOURCE = "MNIST handwritten digits (Yann LeCun, Corinna Cortes, Chris Burges), verified by SHA-256"
# Public copies of the files that were first on Yann LeCun's page.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# of the dataset file made of these digits: known before a single one is read
FINGERPRINT = "87654cf91ddfbbac7f37b6b72bf9941cf223753fa0ce6bf76c30cae138fe930b"


@dataclass(frozen=True)
class MnistFile:
    """One of the four published files."""

    name: str  # without .gz
    shape: tuple[int, ...]
    sha256: str  # of the plain IDX file
    gz_sha256: str  # of the .gz as first published, which the mirrors hold
    gz_size: int  # bytes


FILES = (
    MnistFile(
        "train-images-idx3-ubyte",
        (60000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        9_912_422,
    ),
    MnistFile(
        "train-labels-idx1-ubyte",
        (60000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        28_881,
    ),
    MnistFile(
        "t10k-images-idx3-ubyte",
        (10000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        1_648_877,
    ),
    MnistFile(
        "t10k-labels-idx1-ubyte",
        (10000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        4_542,
    ),
)


@dataclass(frozen=True)
class Mnist:
    """The digits, and where they came from."""

    train: tuple[np.ndarray, np.ndarray]  # images uint8 (60000, 28, 28), labels uint8 (60000,)
    test: tuple[np.ndarray, np.ndarray]  # images uint8 (10000, 28, 28), labels uint8 (10000,)
    origin: Path  # the directory or file that was read


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where downloads are kept: ``$XDG_CACHE_HOME/distlenet/mnist``, by default in ~/.cache.

    A user without a home has .cache in the working directory.
    """
    return Path(environment.get("XDG_CACHE_HOME") or (home() or Path()) / ".cache") / "distlenet" / "mnist"


def usual_places(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Return where torchvision, keras and distlenet itself keep MNIST, most likely first."""
    own = home()
    keras = Path(environment.get("KERAS_HOME") or (own or Path()) / ".keras")
    return [
        cache_directory(environment),
        Path("data/MNIST/raw"),
        Path("MNIST/raw"),
        *([own / "data/MNIST/raw", own / "datasets/MNIST/raw"] if own else []),
        keras / "datasets" / KERAS_FILE,
    ]


def has_mnist(place: Path) -> bool:
    """Tell whether ``place`` seems to hold MNIST (all four IDX files, or a keras file); reads nothing."""
    try:
        if place.is_file():
            return place.name == KERAS_FILE
        return all(find_file(place, file.name) for file in FILES) or (place / KERAS_FILE).is_file()
    except OSError:  # a directory that may not be looked into
        return False


def load_mnist(place: Path, progress: Progress = silent) -> Mnist:
    """Read MNIST from ``place`` and verify it; raises DataError unless all four parts are the published ones.

    ``place`` is a directory with the four IDX files (.gz or not; also ``MNIST/raw`` or ``raw`` below it),
    or keras' mnist.npz, or a directory that holds that.
    """
    try:
        if not place.exists():
            raise DataError(f"there is no {place}, expected a directory with the four MNIST files")
        origin, arrays = _read(place, progress)
    except OSError as error:  # a name that is too long, a disk that fails
        raise DataError(f"cannot read {place}: {error.strerror or error}") from error
    for file, array in zip(FILES, arrays, strict=True):
        digest = idx_sha256(array)
        if array.dtype != np.uint8 or array.shape != file.shape or digest != file.sha256:
            raise DataError(
                f"{file.name} in {origin} is not MNIST's: {array.dtype} {array.shape} "
                f"with SHA-256 {digest[:12]}, expected uint8 {file.shape} with {file.sha256[:12]}; "
                "get it again (this command takes nothing but MNIST)"
            )
    return Mnist((arrays[0], arrays[1]), (arrays[2], arrays[3]), origin)


def is_published(path: Path, file: MnistFile) -> bool:
    """Tell whether ``path`` is a copy of ``file``, .gz or not; a missing or damaged one is not."""
    try:
        return idx_sha256(read_idx(path, math.prod(file.shape))) == file.sha256
    except DataError:
        return False


def find_mnist(
    place: Path | None, progress: Progress = silent, environment: Mapping[str, str] = os.environ
) -> Mnist | None:
    """Return MNIST from ``place``, else from $DISTLENET_MNIST, else from where other programs keep it.

    None if it is nowhere on this machine. What the user named must be right (DataError); a damaged copy
    that was merely found is passed over.
    """
    if place is not None:
        return load_mnist(place, progress)
    if environment.get("DISTLENET_MNIST"):
        try:
            return load_mnist(as_path(environment["DISTLENET_MNIST"]), progress)
        except (ArgumentTypeError, DataError) as error:
            raise DataError(f"$DISTLENET_MNIST: {error}") from error
    for usual in usual_places(environment):
        if has_mnist(usual):
            try:
                return load_mnist(usual, progress)
            except DataError:
                continue
    return None


def _read(place: Path, progress: Progress) -> tuple[Path, list[np.ndarray]]:
    """Return what was read and the four arrays in the order of FILES, not yet verified."""
    if place.is_file() and "numpy archive" in kind_of(place):
        return place, read_keras_file(place, {file.name: file.shape for file in FILES})
    place = folder_of(place, tuple(file.name for file in FILES))
    for directory in (place, place / "MNIST" / "raw", place / "raw"):
        paths = [find_file(directory, file.name) for file in FILES]
        if all(paths):
            arrays = []
            for number, (path, file) in enumerate(zip(paths, FILES, strict=True)):
                progress("reading MNIST", number, len(FILES))
                arrays.append(read_idx(path, math.prod(file.shape)))
            progress("reading MNIST", len(FILES), len(FILES))
            return directory, arrays
    if (place / KERAS_FILE).is_file():
        return _read(place / KERAS_FILE, progress)
    missing = [file.name for file in FILES if not find_file(place, file.name)]
    raise DataError(f"{place} has no {', '.join(missing)} (.gz or not)")


def folder_of(place: Path, names: tuple[str, ...]) -> Path:
    """Return the directory ``place``, or that of ``place`` if it is one of the IDX files ``names``, .gz or not.

    Raises DataError that says what the file is.
    """
    if place.is_dir():
        return place
    kind = kind_of(place)
    if "IDX file" in kind or place.name.removesuffix(".gz").replace(".idx", "-idx") in names:
        return place.parent
    unpack = ": unpack it and name the directory" if kind.startswith(("a zip", "a tar", "a gzip")) else ""
    raise DataError(f"{place} is {kind}, expected the directory of {', '.join(names)} (.gz or not){unpack}")


def find_file(directory: Path, name: str) -> Path | None:
    """Return where ``directory`` has the IDX file ``name``, .gz or not; None if it does not."""
    # some tools unpack "train-images-idx3-ubyte" as "train-images.idx3-ubyte"
    for spelling in (name, name.replace("-idx", ".idx")):
        for path in (directory / spelling, directory / f"{spelling}.gz"):
            if path.is_file():
                return path
    return None
