"""A folder of pictures for every class: ``DIR/cat/*.png, DIR/dog/*.jpg``, or the same below train/ and test/."""

from pathlib import Path

import numpy as np

from distlenet.data.file.writer import Block, Progress
from distlenet.data.sources.dataset import SEED, Dataset, joined, remarks
from distlenet.data.sources.folder_layout import layout_of
from distlenet.data.sources.picture import read_image

BLACK, WHITE, OWN = 0, 255, -1  # papers: what transparent ground became, or the picture's own


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
    are light; strokes on transparent ground tell for themselves. Without folders of test or validation images (see
    layout_of), ``share`` of each class become test images. The training images are mixed by ``seed``. Raises DataError
    that names the picture or folder; UsageError without Pillow.
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
    parts = joined(blocks, share, seed, f"{place}")
    source = (
        f"pictures of the folder {place.name or place}, made {size[0]} x {size[1]} pixels"
        f"{_how_inverted(dark)}, {parts.said}"
    )
    name = place.resolve().name or "pictures"
    notes = (*layout.notes, *parts.notes, *remarks(parts, layout.class_names))
    return Dataset(parts.train, parts.test, name, layout.class_names, source, f"{place}", notes, parts.validation)


def _read(
    files: list[tuple[Path, int]], stage: str, size: tuple[int, int], progress: Progress
) -> tuple[Block, np.ndarray]:
    """Return the pictures ``files``, each with its class, and the papers.

    A paper is BLACK or WHITE for strokes that were on transparent ground, OWN for all other pictures.
    """
    images, papers = np.empty((len(files), *size), np.uint8), np.full(len(files), OWN, np.int16)
    for row, (path, _) in enumerate(files):
        images[row], paper = read_image(path, size)
        papers[row] = OWN if paper is None else paper
        progress(stage, row + 1, len(files))
    return (images, np.array([label for _, label in files], np.uint8)), papers


def _how_inverted(dark: list[np.ndarray]) -> str:
    """Return what to say of the pictures that were inverted, True in ``dark``: " and inverted" if all were."""
    share = np.concatenate(dark).mean()
    return "" if share == 0 else " and inverted" if share == 1 else " and, where the ink is dark, inverted"


def _border(images: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of ``images`` (n, rows, columns), flat."""
    edges = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
    return np.concatenate([edge.ravel() for edge in edges])
