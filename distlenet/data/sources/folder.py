"""One folder of pictures per class: ``DIR/cat/*.png, DIR/dog/*.jpg``, or the same inside train/ and test/."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distlenet.data.file.kind import kind_of
from distlenet.data.file.writer import Block, Progress
from distlenet.data.sources.dataset import SEED, SPLITS, Dataset, divided, split_of
from distlenet.data.sources.picture import read_image
from distlenet.errors import DataError

BLACK, WHITE, OWN = 0, 255, -1  # the paper of a picture: filled in behind a transparent one, or its own

# left by file managers, like names that start with a dot
NO_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
NO_FOLDERS = ("@eadir", "$recycle.bin", "system volume information", "lost+found")


def read_folder(
    place: Path,
    progress: Progress,
    *,
    size: tuple[int, int] | None = None,
    ink: str | None = None,
    share: float = 0.2,
    seed: int = SEED,
) -> Dataset:
    """Read the pictures in ``place``: each folder is a class and names it; classes are in natural order.

    Every picture is resized to ``size`` (rows, columns), 28 x 28 if None. ``ink`` is "light" (pictures are kept) or
    "dark" (they are inverted, so that 0 is paper). None means dark if the borders of the training pictures are light;
    for strokes on a transparent background it is found picture by picture. Without folders of test or validation images
    (see layout_of), ``share`` of each class become test images. The training images are shuffled with ``seed``. Raises
    DataError naming the picture or folder, and UsageError without Pillow.
    """
    size = size or (28, 28)
    layout = layout_of(place)
    blocks, papers = {}, {}
    for split, files in layout.files.items():
        blocks[split], papers[split] = _read(files, f"reading {split} pictures", size, progress)
    if ink is None:
        with_paper = blocks["train"][0][papers["train"] == OWN]
        ink = "dark" if len(with_paper) and np.median(_border(with_paper)) > 127 else "light"
        dark = [np.where(paper == OWN, ink == "dark", paper == WHITE) for paper in papers.values()]
    else:
        dark = [np.full(len(paper), ink == "dark") for paper in papers.values()]
    for (images, _), inverted in zip(blocks.values(), dark, strict=True):
        images[inverted] = 255 - images[inverted]
    made = f"resized to {size[0]} x {size[1]} pixels{_how_inverted(dark)}"
    source, name = f"pictures of the folder {place.name or place}, {made}", place.resolve().name or "pictures"
    return divided(blocks, place, share, seed, name, layout.class_names, source, layout.notes)


def _read(
    files: list[tuple[Path, int]], stage: str, size: tuple[int, int], progress: Progress
) -> tuple[Block, np.ndarray]:
    """Return the pictures ``files`` with their classes, and the paper of each.

    The paper is BLACK or WHITE for strokes on a transparent background, OWN for all other pictures.
    """
    images, papers = np.empty((len(files), *size), np.uint8), np.full(len(files), OWN, np.int16)
    for row, (path, _) in enumerate(files):
        images[row], paper = read_image(path, size)
        papers[row] = OWN if paper is None else paper
        progress(stage, row + 1, len(files))
    return (images, np.array([label for _, label in files], np.uint8)), papers


def _how_inverted(dark: list[np.ndarray]) -> str:
    """Return the end of a sentence on the inverted pictures, True in ``dark``: " and inverted" if all were."""
    share = np.concatenate(dark).mean()
    return "" if share == 0 else " and inverted" if share == 1 else " and, where the ink is dark, inverted"


def _border(images: np.ndarray) -> np.ndarray:
    """Return the border pixels of ``images`` (n, rows, columns), flat."""
    edges = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
    return np.concatenate([edge.ravel() for edge in edges])


@dataclass(frozen=True)
class Layout:
    """The pictures of each part, class by class, in order of file names."""

    class_names: tuple[str, ...]
    files: dict[str, list[tuple[Path, int]]]  # by part, "train" and perhaps "validation" and "test": (picture, class)
    notes: tuple[str, ...]  # sentences on skipped files


def layout_of(place: Path) -> Layout:
    """Return the layout of the directory ``place``: class folders, or parts (train/, test/ ...) with class folders.

    Raises DataError if the class of a picture would be missing or ambiguous.
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
        deeper = [folder for folder in folders["train"] if len(_folders(folder)) > 1]
        hint = f" (is it --from {deeper[0]}?)" if len(names) == 1 and deeper else ""  # the classes are a level deeper
        raise DataError(f"{roots['train']} has {len(names)} folders{hint}, expected 2 to 256: one for each class")
    for name in names:
        if not name.isprintable():
            raise DataError(f"{roots['train']} has a folder {name!r}, expected a name that can be printed: rename it")
    for split, root in roots.items():
        if strange := sorted({folder.name for folder in folders[split]} ^ set(names)):
            raise DataError(
                f"{', '.join(strange[:5])}: not a class in both {roots['train']} and {root}, expected the same classes"
            )
    files = {
        split: [(path, label) for label, name in enumerate(names) for path in _pictures(root / name)]
        for split, root in roots.items()
    }
    notes = [_loose(directory) for directory in {place, *roots.values()}]
    return Layout(tuple(names), files, tuple(sorted(filter(None, notes))))


def _parts(place: Path) -> dict[str, Path]:
    """Return the folders of training, validation and test images in ``place``; empty if it holds class folders."""
    folders = _folders(place)
    parts = [folder for folder in folders if split_of(folder.name)]
    with_folders = [folder for folder in parts if _folders(folder)]
    named = ", ".join(folder.name for folder in parts)
    if not with_folders:
        if len(parts) > 1 and len(parts) == len(folders):
            raise DataError(f"{place}: {named} hold pictures but no folders, expected a folder for each class in them")
        return {}  # a class may be called "train"
    if len(parts) < len(folders):
        others = ", ".join(folder.name for folder in folders if folder not in parts)
        raise DataError(
            f"{place} has the folders {named} and also {others[:200]}, expected either parts of a dataset or classes: "
            "rename the latter to train, val or test if they are parts, else move them away"
        )
    found: dict[str, Path] = {}
    for folder in parts:
        split = split_of(folder.name) or ""
        if split in found:
            raise DataError(f"{place}: {found[split].name} and {folder.name} both hold {split} images, expected one")
        found[split] = folder
    if "train" not in found:
        raise DataError(f"{place} has a folder {named} but none called train, expected both or neither")
    return {split: found[split] for split in SPLITS if split in found}


def _pictures(folder: Path) -> list[Path]:
    """Return the files in ``folder``; raises DataError if there are none, or if it holds anything but files."""
    found = []
    for path in _visible(folder):
        if path.is_dir():
            if any(_visible(path)):
                part = split_of(path.name)
                advice = (
                    f"make the part the outer folder: {path.name}/{folder.name}"
                    if part
                    else f"move its pictures to {folder} or away (parts of a dataset are called train, val and test)"
                )
                raise DataError(f"{path} is a folder inside a class folder, expected only pictures there: {advice}")
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"{path} is {'a broken link' if path.is_symlink() else 'not a file'}; remove it")
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
    """Yield the entries of ``root``, except those left by operating systems and file managers."""
    try:
        for path in root.iterdir():
            name = path.name.lower()
            left_over = (name.startswith("__") or name in NO_FOLDERS) and path.is_dir()
            if not left_over and not name.startswith(".") and name not in NO_FILES:
                yield path
    except OSError as error:
        raise DataError(f"cannot read the directory {root}: {error.strerror or error}") from error


def _loose(directory: Path) -> str:
    """Return a sentence if there are files next to the folders in ``directory``, else ""."""
    files = sorted(path.name for path in _visible(directory) if not path.is_dir())
    if not files:
        return ""
    shown = ", ".join(name if name.isprintable() else repr(name) for name in files[:4]) + " ..." * (len(files) > 4)
    return f"skipped because they are in no class folder: {len(files):,} files in {directory} ({shown})"
