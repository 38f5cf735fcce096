"""A folder of pictures for every class: ``DIR/cat/*.png, DIR/dog/*.jpg``, or the same below train/ and test/."""

import re
from pathlib import Path

import numpy as np

from distlenet.data.dataset import SEED, Dataset, mixed, with_test_images
from distlenet.data.digitwriter import Block
from distlenet.data.imagefile import read_image
from distlenet.data.progress import Progress
from distlenet.errors import DataError

BLACK, WHITE, OWN = 0, 255, -1  # papers: what transparent ground became, or the picture's own
NO_IMAGES = ("thumbs.db", "desktop.ini")  # left by file managers, as are names that begin with a dot


def read_folder(
    place: Path,
    progress: Progress,
    *,
    size: tuple[int, int] | None = None,
    ink: str | None = None,
    share: float = 0.2,
    seed: int = SEED,
) -> Dataset:
    """Read the pictures of ``place``: a class for each folder, named like it, in natural order.

    Every picture is made to fit ``size`` (rows, columns), 28 x 28 if None. ``ink`` is "light" (the pictures are
    kept), "dark" (they are inverted, so that 0 is paper), or None: dark if the borders of the training pictures
    are light; strokes on transparent ground tell for themselves. Without folders train/ and test/, ``share`` of each
    class become test images. The training images are mixed by ``seed``. Raises DataError that names the picture or
    folder; UsageError without Pillow.
    """
    size = size or (28, 28)
    if not place.is_dir():
        raise DataError(f"there is no directory {place}, expected one with a folder of pictures for each class")
    given = {split: place / split for split in ("train", "test") if (place / split).is_dir()}
    if "test" in given and "train" not in given:
        raise DataError(f"{place} has a folder test and none called train, expected both or neither")
    roots = list(given.values()) or [place]
    names = [folder.name for folder in _folders(roots[0])]
    if not 2 <= len(names) <= 256:
        raise DataError(f"{roots[0]} has {len(names)} folders, expected 2 to 256: one for each class")
    for root in roots[1:]:
        if strange := sorted({folder.name for folder in _folders(root)} ^ set(names)):
            raise DataError(f"{', '.join(strange[:5])}: not a class of both {roots[0]} and {root}, expected the same")
    blocks, papers = zip(*(_read(root, names, size, progress) for root in roots), strict=True)
    if ink is None:
        with_paper = blocks[0][0][papers[0] == OWN]
        ink = "dark" if len(with_paper) and np.median(_border(with_paper)) > 127 else "light"
        dark = [np.where(paper == OWN, ink == "dark", paper == WHITE) for paper in papers]
    else:
        dark = [np.full(len(paper), ink == "dark") for paper in papers]
    for (images, _), inverted in zip(blocks, dark, strict=True):
        images[inverted] = 255 - images[inverted]
    if len(blocks) == 1:
        train, test = with_test_images(blocks[0], share, seed, str(place))
        cut = f"{100 * share:g} % of each class set aside for the test and "
    else:
        train, test, cut = mixed(blocks[0], seed), blocks[1], ""
    source = (
        f"pictures of the folder {place.name or place}, made {size[0]} x {size[1]} pixels"
        f"{_how_inverted(dark)}, {cut}mixed by seed {seed}"
    )
    return Dataset(train, test, place.resolve().name or "pictures", tuple(names), source, str(place))


def _folders(root: Path) -> list[Path]:
    """Return the folders of ``root`` in natural order: 2 before 10."""
    folders = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))]
    return sorted(
        folders,
        key=lambda path: [
            (part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", path.name)
        ],
    )


def _read(root: Path, names: list[str], size: tuple[int, int], progress: Progress) -> tuple[Block, np.ndarray]:
    """Return the pictures of all classes, class by class, each class in the order of its file names, and the papers.

    A paper is BLACK or WHITE for strokes that were on transparent ground, OWN for all other pictures.
    """
    files = [(path, label) for label, name in enumerate(names) for path in _pictures(root / name)]
    images, papers = np.empty((len(files), *size), np.uint8), np.full(len(files), OWN, np.int16)
    for row, (path, _) in enumerate(files):
        images[row], paper = read_image(path, size)
        papers[row] = OWN if paper is None else paper
        progress(f"reading {root.name}", row + 1, len(files))
    return (images, np.array([label for _, label in files], np.uint8)), papers


def _pictures(folder: Path) -> list[Path]:
    """Return all files of ``folder`` and of the folders in it; raises DataError if there is none."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.name.lower() not in NO_IMAGES
    )
    if not files:
        raise DataError(f"{folder} holds no picture, expected at least one for each class; fill or remove the folder")
    return files


def _how_inverted(dark: list[np.ndarray]) -> str:
    """Return what to say of the pictures that were inverted, True in ``dark``: " and inverted" if all were."""
    share = np.concatenate(dark).mean()
    return "" if share == 0 else " and inverted" if share == 1 else " and, where the ink is dark, inverted"


def _border(images: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of ``images`` (n, rows, columns), flat."""
    edges = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
    return np.concatenate([edge.ravel() for edge in edges])
