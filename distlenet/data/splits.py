"""What people call the parts of a dataset, in folders and in archives: training, validation and test."""

import re
from collections.abc import Iterable

SPLITS = {
    "train": ("train", "training", "trn", "tr"),
    "validation": ("validation", "validate", "validating", "valid", "val", "dev"),
    "test": ("test", "testing", "tst", "te", "eval", "evaluation", "holdout", "heldout", "unseen", "t10k"),
}
ENDINGS = ("set", "data", "images", "pictures", "imgs", "split")  # of a folder's name: "training_set"
IMAGES = ("x", "images", "image", "imgs", "img", "data", "pictures", "pixels", "features")
LABELS = ("y", "labels", "label", "targets", "target")


def split_of(folder: str) -> str | None:
    """Return "train", "validation" or "test" if a folder of this name holds that part, in any case; else None."""
    word = _plain(folder)
    words = {word, *(word.removesuffix(ending) for ending in ENDINGS)}
    words |= set(re.split(r"[^a-z0-9]+", folder.lower()))  # "mnist_train", "2. test"
    words -= {"tr", "te"}  # short enough to be classes: Turkish, Telugu
    return next((split for split, names in SPLITS.items() if words & set(names)), None)


def roles(names: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """Return the arrays ``names`` by what they hold: ("train", "labels") -> ["y_train"]; of unknown names, nothing.

    "x_train", "train_X" and "trainImages" are training images, and so are "x" and "images".
    """
    found: dict[tuple[str, str], list[str]] = {}
    for name in names:
        word = _plain(name)
        for split, spellings in SPLITS.items():
            for kind, things in (("images", IMAGES), ("labels", LABELS)):
                known = {a + b for s in spellings for t in things for a, b in ((s, t), (t, s))}
                if word in known or (split == "train" and word in things):
                    found.setdefault((split, kind), []).append(name)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\s_.\-]+", "", name.lower())
