"""Images and labels in a numpy archive (.npz): four arrays as keras keeps them, or two that are divided here.

The archive is a zip of .npy files. Each header is compared with the size the zip says before memory is taken, and
an array of Python objects is refused: nothing is ever unpickled.
"""

import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from distlenet.data.dataset import SEED, Dataset, mixed, with_test_images
from distlenet.data.idx import LARGEST, LARGEST_RATIO
from distlenet.data.labels import number_classes
from distlenet.data.pixels import as_pixels, grey, shape_of
from distlenet.data.progress import Progress
from distlenet.errors import DataError

# training images, training labels, test images, test labels; the last two may be missing
NAMES = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("images", "labels", "test_images", "test_labels"),
    ("x", "y", "x_test", "y_test"),
)


def read_npz(
    place: Path,
    progress: Progress,
    *,
    size: tuple[int, int] | None = None,
    share: float = 0.2,
    seed: int = SEED,
) -> Dataset:
    """Read the archive ``place``; without test arrays ``share`` of the images become test images.

    Images are (n, rows, columns), (n, pixels), or either with an axis of 1 or 3 colours; ``size`` is (rows,
    columns) of those that come as rows of pixels (None: they are square). The training images are mixed by
    ``seed``. Raises DataError.
    """
    progress(f"reading {place.name}", 0, 1)
    arrays = _read(place)
    progress(f"reading {place.name}", 1, 1)
    names = next((names for names in NAMES if names[0] in arrays and names[1] in arrays), None)
    if names is None:
        raise DataError(
            f"{place} holds {', '.join(arrays) or 'nothing'}, expected x_train, y_train, x_test, "
            "y_test, or images, labels"
        )
    parts = [(names[i], names[i + 1]) for i in (0, 2) if names[i] in arrays and names[i + 1] in arrays]
    images = {f"{image} in {place}": _pictures(arrays[image], size, f"{image} in {place}") for image, _ in parts}
    shapes = {array.shape[1:] for array in images.values()}
    if len(shapes) > 1:
        raise DataError(f"{place}: training and test images are of mixed sizes, {' and '.join(map(str, shapes))}")
    images = list(as_pixels(images).values())
    labels = [
        _labels(arrays[label], len(image), f"{label} in {place}")
        for (_, label), image in zip(parts, images, strict=True)
    ]
    where = (f"{parts[0][1]} in {place}", f"{parts[-1][1]} in {place}")
    train_labels, test_labels, classes = number_classes(labels[0], labels[1] if labels[1:] else None, where)
    if test_labels is None:
        train, test = with_test_images((images[0], train_labels), share, seed, f"{place}")
        cut = f"{100 * share:g} % of each class set aside for the test and "
    else:
        train, test, cut = mixed((images[0], train_labels), seed), (images[1], test_labels), ""
    source = f"read from {place.name}, {cut}mixed by seed {seed}"
    return Dataset(train, test, place.stem, classes, source, str(place))


def _read(place: Path) -> dict[str, np.ndarray]:
    """Return the arrays of the archive that NAMES knows."""
    known = {name for names in NAMES for name in names}
    try:
        with zipfile.ZipFile(place) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return {name: _array(archive, info, place) for name, info in members.items() if name in known}
    except FileNotFoundError as error:
        raise DataError(f"there is no file {place}, expected a numpy archive (.npz)") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DataError(f"{place} is no numpy archive (.npz), or damaged: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {place}: {error.strerror or error}") from error


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, place: Path) -> np.ndarray:
    where = f"{info.filename} in {place}"
    if info.file_size > min(LARGEST, LARGEST_RATIO * info.compress_size):
        raise DataError(
            f"{where} claims {info.file_size:,} bytes, which {info.compress_size:,} packed ones cannot hold"
        )
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read_header:
            raise DataError(f"{where} has .npy version {version}, expected (1, 0) or (2, 0)")
        shape, by_columns, dtype = read_header[version](file)
        if dtype.hasobject:
            raise DataError(f"{where} holds Python objects, as arrays of mixed sizes do; expected one array of numbers")
        size = math.prod(shape) * dtype.itemsize
        data = file.read(size + 1) if size <= info.file_size else b""
        if len(data) != size:
            raise DataError(f"{where} does not have the {size:,} bytes its header says; get the file again")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")


def _pictures(array: np.ndarray, size: tuple[int, int] | None, where: str) -> np.ndarray:
    """Return ``array`` as (n, rows, columns), in grey if it has colours."""
    shape = array.shape
    if array.ndim == 2:
        return array.reshape(-1, *shape_of(shape[1], size, where))
    if array.ndim == 4 and shape[3] in (1, 3):
        array = array[..., 0] if shape[3] == 1 else grey(array)
    elif array.ndim == 4 and shape[1] in (1, 3):
        array = array[:, 0] if shape[1] == 1 else grey(array.transpose(0, 2, 3, 1))
    if array.ndim != 3:
        raise DataError(f"{where} has shape {shape}, expected (n, rows, columns), (n, pixels), or colours besides")
    if size not in (None, array.shape[1:]):
        raise DataError(f"{where} has images of {array.shape[1:]}, expected {size} as --size says")
    return array


def _labels(array: np.ndarray, count: int, where: str) -> np.ndarray:
    """Return the labels (n,), which may come as (n, 1)."""
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if labels.shape != (count,):
        raise DataError(f"{where} has shape {array.shape}, expected ({count},): one number for each image")
    return labels
