"""Which pictures of a directory are of which part and class: decided before one is read; nothing is passed over."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from distlenet.data.file.kind import kind_of
from distlenet.data.splits import SPLITS, split_of
from distlenet.errors import DataError

# left by file managers, as are names that begin with a dot
NO_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
NO_FOLDERS = ("@eadir", "$recycle.bin", "system volume information", "lost+found")


@dataclass(frozen=True)
class Layout:
    """The pictures of each part, class by class, each class in the order of its file names."""

    class_names: tuple[str, ...]
    files: dict[str, list[tuple[Path, int]]]  # of "train", perhaps "validation" and "test": (picture, class)
    notes: tuple[str, ...]  # sentences on what was left out


def layout_of(place: Path) -> Layout:
    """Return what is in the directory ``place``: folders of classes, or parts (train/, test/ ...) with such folders.

    Raises DataError where a picture would have no class, or where it cannot be told which.
    """
    if not place.exists():
        raise DataError(f"there is no directory {place}, expected one with a folder of pictures for each class")
    if not place.is_dir():
        kind = kind_of(place)
        unpack = "; unpack it and name the directory" if "archive" in kind or "file" in kind else ""
        raise DataError(f"{place} is {kind}, expected a directory with a folder of pictures for each class{unpack}")
    roots = _parts(place) or {"train": place}
    folders = {split: _folders(root) for split, root in roots.items()}
    names = [folder.name for folder in folders["train"]]
    if not 2 <= len(names) <= 256:
        hint = _inside(folders["train"])
        raise DataError(f"{roots['train']} has {len(names)} folders{hint}, expected 2 to 256: one for each class")
    for name in names:
        if not name.isprintable():
            raise DataError(f"{roots['train']} has a folder {name!r}, expected a name that can be printed: rename it")
    for split, root in roots.items():
        if strange := sorted({folder.name for folder in folders[split]} ^ set(names)):
            raise DataError(
                f"{', '.join(strange[:5])}: not a class of both {roots['train']} and {root}, expected the same"
            )
    files = {
        split: [(path, label) for label, name in enumerate(names) for path in _pictures(root / name)]
        for split, root in roots.items()
    }
    notes = [_loose(directory) for directory in {place, *roots.values()}]
    return Layout(tuple(names), files, tuple(sorted(filter(None, notes))))


def _parts(place: Path) -> dict[str, Path]:
    """Return the folders of training, validation and test images in ``place``; none if it holds classes."""
    folders = _folders(place)
    parts = [folder for folder in folders if split_of(folder.name)]
    with_folders = [folder for folder in parts if _folders(folder)]
    named = ", ".join(folder.name for folder in parts)
    if not with_folders:
        if len(parts) > 1 and len(parts) == len(folders):
            raise DataError(f"{place}: {named} hold pictures and no folders, expected a folder for each class in them")
        return {}  # a class may be called "train"
    if len(parts) < len(folders):
        others = ", ".join(folder.name for folder in folders if folder not in parts)
        raise DataError(
            f"{place} has the folders {named} and next to them {others[:200]}, expected parts of a dataset or classes: "
            "rename these to train, val or test if they are such parts, else move them away"
        )
    found: dict[str, Path] = {}
    for folder in parts:
        split = split_of(folder.name)
        if split in found:
            raise DataError(f"{place}: {found[split].name} and {folder.name} are both the {split} images, expected one")
        found[split] = folder
    if "train" not in found:
        raise DataError(f"{place} has a folder {named} and none called train, expected both or neither")
    return {split: found[split] for split in SPLITS if split in found}


def _pictures(folder: Path) -> list[Path]:
    """Return the files in ``folder``; raises DataError if there is none, or anything that is no picture."""
    found = []
    for path in _visible(folder):
        if path.is_dir():
            if any(_visible(path)):
                part = split_of(path.name)
                advice = (
                    f"put the parts outermost: {path.name}/{folder.name}"
                    if part
                    else f"move its pictures to {folder} or away (parts of a dataset are called train, val and test)"
                )
                raise DataError(f"{path} is a folder in the folder of a class, expected pictures alone: {advice}")
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"{path} is {'a broken link' if path.is_symlink() else 'no file'}; remove it")
    if not found:
        raise DataError(f"{folder} holds no picture, expected at least one for each class; fill or remove the folder")
    return sorted(found)


def _folders(root: Path) -> list[Path]:
    """Return the folders of ``root`` in natural order: 2 before 10."""
    return sorted(
        (path for path in _visible(root) if path.is_dir()),
        key=lambda path: [
            (part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", path.name)
        ],
    )


def _visible(root: Path) -> Iterable[Path]:
    """Yield what is in ``root``, but for what systems and programs leave there."""
    try:
        for path in root.iterdir():
            name = path.name.lower()
            if not name.startswith(".") and name not in NO_FILES and not _is_left_over(path, name):
                yield path
    except OSError as error:
        raise DataError(f"cannot read the directory {root}: {error.strerror or error}") from error


def _is_left_over(path: Path, name: str) -> bool:
    return (name.startswith("__") or name in NO_FOLDERS) and path.is_dir()


def _inside(folders: list[Path]) -> str:
    """Return a hint where the classes are one level deeper."""
    deeper = [folder for folder in folders if len(_folders(folder)) > 1]
    return f" (is it --from {deeper[0]}?)" if len(folders) == 1 and deeper else ""


def _loose(directory: Path) -> str:
    """Return a sentence if files stand next to the folders of ``directory``."""
    files = sorted(path.name for path in _visible(directory) if not path.is_dir())
    if not files:
        return ""
    shown = ", ".join(name if name.isprintable() else repr(name) for name in files[:4]) + " ..." * (len(files) > 4)
    return f"not read, as in no class's folder: {len(files):,} files in {directory} ({shown})"
