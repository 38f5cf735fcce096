"""Reads a published dataset of four IDX files from disk; MNIST is searched for or downloaded, and verified."""

import hashlib
import math
import os
from argparse import ArgumentTypeError
from contextlib import suppress
from pathlib import Path

import numpy as np

from distlenet.bounded import read_bytes
from distlenet.data.file.kind import kind_of
from distlenet.data.file.writer import Progress
from distlenet.data.sources.catalogue import LIKE_MNIST, MD5, MIRRORS, PUBLISHED, Published
from distlenet.data.sources.dataset import Dataset
from distlenet.data.sources.download import PATIENT, Patience, download
from distlenet.data.sources.idx import idx_sha256, read_idx
from distlenet.data.sources.npz_archive import Archive
from distlenet.errors import DataError, DownloadError
from distlenet.paths import as_path, home

IMAGES, LABELS = 2**27, 2**22  # bytes to which a packed file of images or labels may always unpack
KERAS_FILE = "mnist.npz"
KERAS_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def read_mnist(
    place: Path | None, progress: Progress, *, mirrors: tuple[str, ...] = MIRRORS, patience: Patience = PATIENT
) -> Dataset:
    """Read MNIST from ``place``, $DISTLENET_MNIST, the usual places of other programs, or ``mirrors``, in this order.

    A copy named by the user must be right (DataError); a damaged copy in a usual place is skipped. Besides the four
    files (see read_published) it may be keras' mnist.npz, or a directory with that file. Raises DownloadError.
    """
    if place is not None:
        return read_published(place, progress, name="mnist")
    if named := os.environ.get("DISTLENET_MNIST"):
        try:
            return read_published(as_path(named), progress, name="mnist")
        except (ArgumentTypeError, DataError) as error:
            raise DataError(f"$DISTLENET_MNIST: {error}") from error
    for usual in usual_places():
        with suppress(DataError, OSError):
            return read_published(usual, progress, name="mnist")
    return read_published(_download(PUBLISHED["mnist"], mirrors, patience, progress), progress, name="mnist")


def read_emnist(place: Path | None, progress: Progress, *, split: str = "balanced") -> Dataset:
    """Read one of EMNIST's splits; see read_published."""
    return read_published(place, progress, name=f"emnist-{split}")


def read_published(place: Path | None, progress: Progress, *, name: str) -> Dataset:
    """Read PUBLISHED[name] from the directory ``place``, .gz or not, in the published order.

    Also searches the folders ``gzip``, ``raw`` and torchvision's below ``place``; for MNIST, keras' archive is accepted
    too. Raises DataError if files are missing, damaged, from another dataset, or do not match each other.
    """
    known = PUBLISHED[name]
    wanted = f"{known.name}'s files {', '.join(known.files)} (.gz or not) from {known.home}"
    if place is None:
        raise DataError(f"pass the directory with {wanted} as --from DIR")
    if not place.exists():
        raise DataError(f"there is no directory {place}, expected one with {wanted}")
    paths = _find_files(place, known)
    verified = [_check_md5(path, number, known) for number, path in enumerate(paths)]
    if len(paths) == 1:
        origin, arrays, paths = paths[0], _read_keras_file(paths[0], known), paths * 4
    else:
        origin, arrays = paths[0].parent, _read_files(paths, known, progress)
    if known.contents:
        _check_contents(arrays, origin, known)
    for images, path in ((arrays[0], paths[0]), (arrays[2], paths[2])):
        if images.ndim != 3 or images.dtype != np.uint8:
            raise DataError(f"{path} holds {images.dtype} {images.shape}, expected images: uint8 (n, rows, columns)")
    if (
        not known.contents
        and known.files is LIKE_MNIST
        and idx_sha256(arrays[0]) == PUBLISHED["mnist"].contents[0].sha256
    ):
        raise DataError(f"{place} holds MNIST itself, not {known.name}; use `distlenet prepare mnist`")
    train, test = (
        (_upright(arrays[i], known), _labels(arrays[i + 1], len(arrays[i]), known, paths[i + 1])) for i in (0, 2)
    )
    as_published = ", verified by SHA-256" if known.contents else ", the files have their published MD5" * all(verified)
    source = f"{known.name}{known.what} ({known.authors}){as_published}"
    return Dataset(train, test, known.name, known.class_names, source, f"{origin}")


def cache_directory() -> Path:
    """Return the directory for downloads: ``$XDG_CACHE_HOME/distlenet/mnist``, by default in ~/.cache.

    If the home directory is unknown, it is in .cache in the working directory.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or (home() or Path()) / ".cache") / "distlenet" / "mnist"


def usual_places() -> list[Path]:
    """Return the places where torchvision, keras and distlenet keep MNIST, most likely first."""
    own = home()
    keras = Path(os.environ.get("KERAS_HOME") or (own or Path()) / ".keras")
    return [
        cache_directory(),
        Path("data/MNIST/raw"),
        Path("MNIST/raw"),
        *([own / "data/MNIST/raw", own / "datasets/MNIST/raw"] if own else []),
        keras / "datasets" / KERAS_FILE,
    ]


def _download(known: Published, mirrors: tuple[str, ...], patience: Patience, progress: Progress) -> Path:
    """Fetch the four files into the cache and return its directory."""
    cache = cache_directory()
    try:
        for file, content in zip(known.files, known.contents, strict=True):
            path = cache / f"{file}.gz"
            with suppress(OSError):
                if hashlib.sha256(read_bytes(path, content.gz_size)).hexdigest() == content.gz_sha256:
                    continue  # an earlier download got this far
            download(
                [f"{mirror}{file}.gz" for mirror in mirrors],
                path,
                sha256=content.gz_sha256,
                largest=content.gz_size,
                patience=patience,
                progress=progress,
            )
    except DownloadError as error:
        raise DownloadError(
            f"{known.name} is not on this machine and {error}; give the directory of the files with --from or "
            "$DISTLENET_MNIST, or draw digits with `distlenet prepare synthetic`"
        ) from error
    return cache


def _find_files(place: Path, known: Published) -> list[Path]:
    """Return the paths of ``known``'s four files, or of keras' archive; raises DataError naming missing files."""
    if known.contents and place.is_file() and "numpy archive" in kind_of(place):
        return [place]
    place = _folder_of(place, known.files)
    for directory in (place, place / "gzip", place / known.folder / "raw", place / "raw"):
        paths = [path for file in known.files if (path := find_file(directory, file))]
        if len(paths) == len(known.files):
            return paths
    if known.contents and (place / KERAS_FILE).is_file():
        return [place / KERAS_FILE]
    missing = [file for file in known.files if not find_file(place, file)]
    raise DataError(f"{place} has no {', '.join(missing)} (.gz or not); get them from {known.home}")


def _folder_of(place: Path, names: tuple[str, ...]) -> Path:
    """Return ``place`` if it is a directory, or its directory if it is one of the IDX files ``names``, .gz or not.

    Raises DataError naming the kind of the file.
    """
    if place.is_dir():
        return place
    kind = kind_of(place)
    if "IDX file" in kind or place.name.removesuffix(".gz").replace(".idx", "-idx") in names:
        return place.parent
    unpack = ": unpack it and name the directory" if kind.startswith(("a zip", "a tar", "a gzip")) else ""
    raise DataError(f"{place} is {kind}, expected the directory of {', '.join(names)} (.gz or not){unpack}")


def find_file(directory: Path, name: str) -> Path | None:
    """Return the path of the IDX file ``name``, .gz or not, in ``directory``; None if missing."""
    # some tools unpack "train-images-idx3-ubyte" as "train-images.idx3-ubyte"
    for spelling in (name, name.replace("-idx", ".idx")):
        for path in (directory / spelling, directory / f"{spelling}.gz"):
            if path.is_file():
                return path
    return None


def _read_files(paths: list[Path], known: Published, progress: Progress) -> list[np.ndarray]:
    """Return the arrays of the IDX files ``paths``, each with its limit of memory."""
    arrays = []
    for number, path in enumerate(paths):
        progress(f"reading {known.name}", number, len(paths))
        most = math.prod(known.contents[number].shape) if known.contents else LABELS if number % 2 else IMAGES
        arrays.append(read_idx(path, most))
    progress(f"reading {known.name}", len(paths), len(paths))
    return arrays


def _read_keras_file(path: Path, known: Published) -> list[np.ndarray]:
    """Return the four arrays of keras' archive; an archive with other arrays is refused without reading them."""
    with Archive(path) as archive:
        if missing := [name for name in KERAS_ARRAYS if name not in archive.names]:
            present = ", ".join(archive.names[:8]) or "nothing"
            raise DataError(f"{path} is not keras' {known.name}: it has no {missing[0]}, but {present}")
        for name, content in zip(KERAS_ARRAYS, known.contents, strict=True):
            header = archive.header(name)
            if (header.dtype, header.shape, header.by_columns) != (np.uint8, content.shape, False):
                raise DataError(f"{name} in {path} is {header}, expected uint8 {content.shape} row by row")
        return list(archive.arrays(KERAS_ARRAYS).values())


def _check_contents(arrays: list[np.ndarray], origin: Path, known: Published) -> None:
    """Raise DataError unless the arrays are the published ones."""
    for file, content, array in zip(known.files, known.contents, arrays, strict=True):
        digest = idx_sha256(array)
        if array.dtype != np.uint8 or array.shape != content.shape or digest != content.sha256:
            raise DataError(
                f"{file} in {origin} is not {known.name}'s: {array.dtype} {array.shape} with SHA-256 {digest[:12]}, "
                f"expected uint8 {content.shape} with {content.sha256[:12]}; "
                f"get it again (this command accepts only {known.name})"
            )


def _check_md5(path: Path, number: int, known: Published) -> bool:
    """Whether ``path`` is the published .gz; raises DataError if it belongs to another dataset."""
    if not known.md5 or path.suffix != ".gz":
        return False
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != known.md5[number] and found in MD5:
        raise DataError(f"{path} is {MD5[found]}, expected {known.name}'s {known.files[number]}")
    return found == known.md5[number]


def _upright(images: np.ndarray, known: Published) -> np.ndarray:
    return np.ascontiguousarray(images.transpose(0, 2, 1)) if known.transposed else images


def _labels(array: np.ndarray, count: int, known: Published, path: Path) -> np.ndarray:
    """Return labels (count,) uint8 that start at 0; QMNIST's label is the first of several columns."""
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] else array
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path} holds {array.dtype} {array.shape}, expected whole numbers, one for each of {count:,} images"
        )
    labels = labels.astype(np.int64) - known.first_label
    wrong = (labels < 0) | (labels >= len(known.class_names))
    if wrong.any():
        row, last = int(wrong.argmax()), known.first_label + len(known.class_names) - 1
        raise DataError(
            f"{path}: row {row} has label {labels[row] + known.first_label}, expected {known.first_label} to {last}"
        )
    return labels.astype(np.uint8)
