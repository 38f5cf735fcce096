"""The table of formats that ``distlenet prepare`` reads; a reader is loaded when it is used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distlenet.errors import DataError
from distlenet.paths import is_custom

if TYPE_CHECKING:
    from distlenet.data.file.writer import Progress
    from distlenet.data.sources.dataset import Dataset

EMNIST_SPLITS = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")


@dataclass(frozen=True)
class Format:
    """A format: its help, its reader in this package, and the options that this takes."""

    help: str
    place: str  # help of --from; empty: there is no --from
    reader: str  # "module.function"; called with place, progress and keywords, it returns a Dataset
    options: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)  # keywords that are always given
    needs_place: bool = True  # False: the reader, or the user's function, does without --from
    more: str = ""  # sentences for its own --help
    fingerprint: str = ""  # of the dataset file made of it, if it is always the same

    def read(self, place: Path | None, progress: "Progress", **options: Any) -> "Dataset":
        """Read the dataset at ``place``; raises DataError, also if a published dataset is not found."""
        module, _, function = self.reader.partition(".")
        read = getattr(import_module(f"distlenet.data.sources.{module}"), function)
        try:
            return read(place, progress, **self.fixed, **options)
        except OSError as error:  # a name that is too long, a disk that fails
            raise DataError(f"cannot read {place}: {error.strerror or error}") from error


_FILES = "directory of the published files (.gz or not)"
_DIVISION = ("share", "seed")

FORMATS: dict[str, Format] = {
    "mnist": Format(
        "60,000 + 10,000 handwritten digits, verified",
        "directory of the four files (.gz or not)",
        "published.read_mnist",
        needs_place=False,
        more="Make MNIST's dataset file from --from, else $DISTLENET_MNIST, else the places where torchvision and "
        "keras keep it, else the network.",
        fingerprint="87654cf91ddfbbac7f37b6b72bf9941cf223753fa0ce6bf76c30cae138fe930b",
    ),
    "mnist-and-forms": Format(
        "MNIST, with drawn digits of forms that it lacks for training",
        "directory of MNIST's four files (.gz or not)",
        "forms.read_mnist_and_forms",
        ("forms", "others"),
        needs_place=False,
        more="Make the dataset file of the packaged network: 30,000 drawn digits of other forms (1 with long upstroke, "
        "crossed 7, looped 4 ...) and 5,000 letters and the like under random labels are mixed into MNIST's training "
        "images. The test images are MNIST's.",
    ),
    "synthetic": Format(
        "digits drawn by the program (not MNIST), no network needed",
        "",
        "drawing.read_drawn",
        ("train", "test images", "distinct", "digits"),
        more="Draw digits and make a dataset file of them. They are not MNIST: no accuracy on them compares with a "
        "published one.",
    ),
    **{
        name: Format(text, _FILES, "published.read_published", (), {"name": name}, needs_place=False)
        for name, text in (
            ("fashion", "Fashion-MNIST: ten kinds of clothes"),
            ("kmnist", "KMNIST: ten cursive hiragana"),
            ("qmnist", "QMNIST: MNIST with all 60,000 test digits"),
        )
    },
    "emnist": Format(
        "EMNIST: digits and letters, 10 to 62 classes", _FILES, "published.read_emnist", ("split",), needs_place=False
    ),
    "csv": Format(
        "a table: one line per image, with label and pixels",
        "table (.csv or .csv.gz)",
        "csv.read_csv",
        ("test", "label", "ignore", "size", *_DIVISION),
    ),
    "folder": Format(
        "a folder of pictures for each class",
        "directory of the classes' folders, or of train/ and test/ with them",
        "folder.read_folder",
        ("size", "ink", *_DIVISION),
    ),
    "npz": Format(
        "a numpy archive: x_train, y_train, x_test, y_test, or images, labels",
        "archive (.npz)",
        "npz.read_npz",
        ("size", *_DIVISION),
    ),
}


def format_of(name: str) -> Format:
    """Return the format ``name``: a key of FORMATS, or user code, FILE.py:FUNCTION.

    Only the command line names such code, and so allows it to run.
    """
    if not is_custom(name):
        return FORMATS[name]
    from distlenet.trust import Trust

    return Format(
        "your own format",
        "what your function gets, as a Path",
        "own.read_own",
        ("size", *_DIVISION),
        {"code": name, "trust": Trust(others=(name,))},
        needs_place=False,
        more="Make a dataset file of what your function returns, a dict of arrays: x_train, y_train, x_test, y_test, "
        "or images, labels.",
    )
