"""Published datasets in MNIST's IDX format, under the names of their files; MNIST itself is in ``mnist.py``.

MD5 sums are those that their authors publish for the .gz files. They are no proof against forgery, but tell
one dataset from another where both use MNIST's file names.
"""

import hashlib
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distlenet.data.file.writer import Progress
from distlenet.data.sources import mnist
from distlenet.data.sources.dataset import Dataset
from distlenet.data.sources.idx import idx_sha256, read_idx
from distlenet.errors import DataError

LIKE_MNIST = tuple(file.name for file in mnist.FILES)  # train images, train labels, test images, test labels
DIGITS = tuple(string.digits)
IMAGES, LABELS = 2**27, 2**22  # bytes that a packed file of images or labels may unpack to in any case


@dataclass(frozen=True)
class Published:
    """A dataset of four files, in the order of LIKE_MNIST."""

    name: str
    authors: str
    home: str  # where to get the files
    files: tuple[str, ...]  # without .gz
    class_names: tuple[str, ...]
    folder: str = ""  # torchvision's, which keeps the files in <folder>/raw
    transposed: bool = False  # rows and columns are exchanged in the file
    first_label: int = 0
    md5: tuple[str, ...] = ()  # of the .gz files


def _emnist(split: str, class_names: tuple[str, ...], first_label: int = 0) -> Published:
    parts = (("train", "images-idx3"), ("train", "labels-idx1"), ("test", "images-idx3"), ("test", "labels-idx1"))
    return Published(
        f"EMNIST {split}",
        "Gregory Cohen, Saeed Afshar, Jonathan Tapson, André van Schaik",
        "https://www.nist.gov/itl/products-and-services/emnist-dataset (gzip.zip)",
        tuple(f"emnist-{split}-{part}-{kind}-ubyte" for part, kind in parts),
        class_names,
        "EMNIST",
        transposed=True,
        first_label=first_label,
    )


# 47 classes: the lower-case letters that look like their capitals share the capital's class
MERGED = (*DIGITS, *string.ascii_uppercase, *"abdefghnqrt")

PUBLISHED = {
    "fashion": Published(
        "Fashion-MNIST",
        "Han Xiao, Kashif Rasul, Roland Vollgraf",
        "https://github.com/zalandoresearch/fashion-mnist",
        LIKE_MNIST,
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        "FashionMNIST",
        md5=(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
    "kmnist": Published(
        "KMNIST",
        "Tarin Clanuwat and others, ROIS-DS Center for Open Data in the Humanities",
        "https://github.com/rois-codh/kmnist",
        LIKE_MNIST,
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        "KMNIST",
        md5=(
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
    ),
    "qmnist": Published(
        "QMNIST",
        "Chhavi Yadav, Léon Bottou",
        "https://github.com/facebookresearch/qmnist",
        (
            "qmnist-train-images-idx3-ubyte",
            "qmnist-train-labels-idx2-int",
            "qmnist-test-images-idx3-ubyte",
            "qmnist-test-labels-idx2-int",
        ),
        DIGITS,
        "QMNIST",
        md5=(
            "ed72d4157d28c017586c42bc6afe6370",
            "0058f8dd561b90ffdd0f734c6a30e5e4",
            "1394631089c404de565df7b7aeaf9412",
            "5b5b05890a5e13444e108efe57b788aa",
        ),
    ),
    "emnist-byclass": _emnist("byclass", (*DIGITS, *string.ascii_uppercase, *string.ascii_lowercase)),
    "emnist-bymerge": _emnist("bymerge", MERGED),
    "emnist-balanced": _emnist("balanced", MERGED),
    "emnist-letters": _emnist("letters", tuple(string.ascii_uppercase), first_label=1),
    "emnist-digits": _emnist("digits", DIGITS),
    "emnist-mnist": _emnist("mnist", DIGITS),
}
MD5 = {
    md5: f"{known.name}'s {file}"
    for known in PUBLISHED.values()
    for file, md5 in zip(known.files, known.md5, strict=False)
}


def read_published(place: Path | None, progress: Progress, *, name: str) -> Dataset:
    """Read PUBLISHED[name] from the directory ``place``, .gz or not, in the published order.

    ``gzip``, ``raw`` and torchvision's folders below ``place`` are looked into as well. Raises DataError:
    files are missing, damaged, of another dataset, or do not fit each other.
    """
    known = PUBLISHED[name]
    paths = find_files(place, known)
    verified = [_check_md5(path, number, known) for number, path in enumerate(paths)]
    arrays = []
    for number, path in enumerate(paths):
        progress(f"reading {known.name}", number, len(paths))
        arrays.append(read_idx(path, LABELS if number % 2 else IMAGES))
    progress(f"reading {known.name}", len(paths), len(paths))
    for images, path in ((arrays[0], paths[0]), (arrays[2], paths[2])):
        if images.ndim != 3 or images.dtype != np.uint8:
            raise DataError(f"{path} holds {images.dtype} {images.shape}, expected images: uint8 (n, rows, columns)")
    if known.files is LIKE_MNIST and idx_sha256(arrays[0]) == mnist.FILES[0].sha256:
        raise DataError(f"{place} holds MNIST itself, not {known.name}; use `distlenet prepare mnist`")
    train, test = (
        (_upright(arrays[i], known), _labels(arrays[i + 1], len(arrays[i]), known, paths[i + 1])) for i in (0, 2)
    )
    as_published = ", the files have their published MD5" if all(verified) else ""
    source = f"{known.name} ({known.authors}){as_published}"
    return Dataset(train, test, known.name, known.class_names, source, str(paths[0].parent))


def read_emnist(place: Path | None, progress: Progress, *, split: str = "balanced") -> Dataset:
    """Read one of EMNIST's splits; see read_published."""
    return read_published(place, progress, name=f"emnist-{split}")


def find_files(place: Path | None, known: Published) -> list[Path]:
    """Return the paths of ``known``'s four files; raises DataError that names those missing."""
    if place is None:
        raise DataError(f"give the directory with {_wanted(known)} by --from")
    if not place.exists():
        raise DataError(f"there is no directory {place}, expected one with {_wanted(known)}")
    place = mnist.folder_of(place, known.files)
    for directory in (place, place / "gzip", place / known.folder / "raw", place / "raw"):
        paths = [mnist.find_file(directory, file) for file in known.files]
        if all(paths):
            return paths
    missing = [file for file in known.files if not mnist.find_file(place, file)]
    raise DataError(f"{place} has no {', '.join(missing)} (.gz or not); get them from {known.home}")


def _wanted(known: Published) -> str:
    return f"{known.name}'s files {', '.join(known.files)} (.gz or not) from {known.home}"


def _check_md5(path: Path, number: int, known: Published) -> bool:
    """Tell whether ``path`` is the published .gz; raises DataError if it is that of another dataset."""
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
    """Return labels (count,) uint8 from 0 on; QMNIST keeps the label in the first of its columns."""
    labels = array[:, 0] if array.ndim == 2 and array.shape[1] else array
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise DataError(f"{path} holds {array.dtype} {array.shape}, expected whole numbers, one for {count:,} images")
    labels = labels.astype(np.int64) - known.first_label
    wrong = (labels < 0) | (labels >= len(known.class_names))
    if wrong.any():
        row, last = int(wrong.argmax()), known.first_label + len(known.class_names) - 1
        raise DataError(
            f"{path}: row {row} has label {labels[row] + known.first_label}, expected {known.first_label} to {last}"
        )
    return labels.astype(np.uint8)
