"""Reads a numpy archive (.npz) of images and labels: training, validation and test arrays, or one pair to be split."""

from pathlib import Path

from distlenet.data.file.writer import Progress
from distlenet.data.sources.dataset import SEED, SPLITS, Dataset, as_labels, as_pictures, divided, one_size, roles
from distlenet.data.sources.npz_archive import Archive
from distlenet.data.sources.numbers import as_blocks
from distlenet.data.sources.unpacking import readable
from distlenet.errors import DataError


def read_npz(
    place: Path,
    progress: Progress,
    *,
    size: tuple[int, int] | None = None,
    share: float = 0.2,
    seed: int = SEED,
) -> Dataset:
    """Read the archive ``place``; without test or validation arrays ``share`` of the images become test images.

    Images are (n, rows, columns), (n, pixels), or have an additional axis of 1 or 3 colours. ``size`` is the (rows,
    columns) of images given as (n, pixels); None means they are square. The training images are shuffled with
    ``seed``. Raises DataError.
    """
    progress(f"reading {place.name}", 0, 1)
    with readable(place, "a numpy archive (.npz)"), Archive(place) as archive:
        pairs = _pairs(archive)
        arrays = archive.arrays(name for pair in pairs.values() for name in pair)
        unread = [name for name in archive.names if name not in arrays]
    progress(f"reading {place.name}", 1, 1)
    where = {split: (f"{image} in {place}", f"{label} in {place}") for split, (image, label) in pairs.items()}
    raw = {}
    for split, (image, label) in pairs.items():
        images = as_pictures(arrays[image], size, where[split][0])
        raw[split] = images, as_labels(arrays[label], len(images), where[split][1])
    one_size([images for images, _ in raw.values()], place)
    blocks, class_names = as_blocks(raw, where)
    notes = [f"skipped: {', '.join(unread[:8])}{' ...' * (len(unread) > 8)}"] if unread else []
    return divided(blocks, place, share, seed, place.stem, class_names, f"read from {place.name}", notes)


def _pairs(archive: Archive) -> dict[str, tuple[str, str]]:
    """Return the names of the images and labels of each split that the archive holds; raises DataError."""
    found = roles(archive.names)
    for (split, kind), names in found.items():
        if len(names) > 1:
            raise DataError(f"{archive.path} holds {' and '.join(names)}, expected one array of {split} {kind}")
    pairs = {}
    for split in SPLITS:
        images, labels = (found.get((split, kind), [""])[0] for kind in ("images", "labels"))
        if bool(images) != bool(labels):
            found_one, missing = (images, "labels") if images else (labels, "images")
            raise DataError(
                f"{archive.path} holds {found_one} but no {split} {missing}, expected both or neither; it holds "
                f"{_listed(archive)}"
            )
        if images:
            pairs[split] = images, labels
    if "train" not in pairs:
        raise DataError(
            f"{archive.path} holds {_listed(archive)}, expected x_train, y_train, x_test, y_test, or images, labels: "
            f"save it with np.savez({archive.path.name!r}, x_train=..., y_train=...)"
        )
    return pairs


def _listed(archive: Archive) -> str:
    """Return the names, types and shapes of the archive's arrays, shortened."""
    listed = []
    for name in archive.names[:8]:
        try:
            listed.append(f"{name} ({archive.header(name)})")
        except DataError:
            listed.append(f"{name} (not an array of numbers)")
    return (", ".join(listed) or "nothing") + " ..." * (len(archive.names) > 8)
