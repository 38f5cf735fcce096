"""The published datasets in MNIST's IDX format: their files, classes and checksums.

The MD5 sums are published by the authors for the .gz files. They do not protect against forgery, but distinguish
datasets that use MNIST's file names. For MNIST itself the contents are checked: the .gz files in circulation were
packed by different programs, but the numbers inside are the same everywhere. Published MD5 of the original .gz files:
f68b3c2dcbeaaa9fbdd348bbdeb94873, d53e105ee54ea40749a09fcbcd1e9432,
9fb629c4189551a2d022fa330f9573f3, ec29112dd5afa0611ce80d1b7f02629c.
"""

import string
from dataclasses import dataclass

PARTS = (("train", "images-idx3"), ("train", "labels-idx1"), ("test", "images-idx3"), ("test", "labels-idx1"))
LIKE_MNIST = tuple(f"{part}-{kind}-ubyte".replace("test", "t10k") for part, kind in PARTS)
DIGITS = tuple(string.digits)
# public copies of the files first published on Yann LeCun's page
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")


@dataclass(frozen=True)
class Content:
    """The content of a file, if it is the same in all copies."""

    shape: tuple[int, ...]
    sha256: str  # of the plain IDX file
    gz_sha256: str  # of the .gz as first published and as stored on the mirrors
    gz_size: int  # bytes


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
    contents: tuple[Content, ...] = ()  # if known, no other contents are accepted
    what: str = ""  # part of the sentence stored in the file


_MNIST = Published(
    "MNIST",
    "Yann LeCun, Corinna Cortes, Chris Burges",
    MIRRORS[0],
    LIKE_MNIST,
    DIGITS,
    "MNIST",
    what=" handwritten digits",
    contents=(
        Content(
            (60000, 28, 28),
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            9_912_422,
        ),
        Content(
            (60000,),
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            28_881,
        ),
        Content(
            (10000, 28, 28),
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            1_648_877,
        ),
        Content(
            (10000,),
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            4_542,
        ),
    ),
)


def _emnist(split: str, class_names: tuple[str, ...], first_label: int = 0) -> Published:
    return Published(
        f"EMNIST {split}",
        "Gregory Cohen, Saeed Afshar, Jonathan Tapson, André van Schaik",
        "https://www.nist.gov/itl/products-and-services/emnist-dataset (gzip.zip)",
        tuple(f"emnist-{split}-{part}-{kind}-ubyte" for part, kind in PARTS),
        class_names,
        "EMNIST",
        transposed=True,
        first_label=first_label,
    )


# 47 classes: the lower-case letters that look like their capitals share the capital's class
MERGED = (*DIGITS, *string.ascii_uppercase, *"abdefghnqrt")
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

PUBLISHED = {
    "mnist": _MNIST,
    "fashion": Published(
        "Fashion-MNIST",
        "Han Xiao, Kashif Rasul, Roland Vollgraf",
        "https://github.com/zalandoresearch/fashion-mnist",
        LIKE_MNIST,
        CLOTHES,
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
        tuple(f"qmnist-{part}-{kind}-ubyte".replace("idx1-ubyte", "idx2-int") for part, kind in PARTS),
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
