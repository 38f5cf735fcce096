"""Connected components of a mask: runs of pixels in each row, joined where runs of neighbouring rows touch."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Components:
    """The components of a mask, largest first; boxes are (top, left, bottom, right), ends excluded."""

    labels: np.ndarray  # (rows, columns) int, -1 where the mask is False
    areas: np.ndarray  # (n,) pixels
    boxes: np.ndarray  # (n, 4)


def components(mask: np.ndarray) -> Components:
    """Return the components of ``mask`` (rows, columns) bool; pixels that meet at a corner are connected."""
    rows, columns = mask.shape
    flat = np.pad(mask, ((0, 0), (1, 1))).ravel().view(np.int8)  # a gap at both ends of each row
    change = np.diff(flat)
    start, stop = np.flatnonzero(change == 1) + 1, np.flatnonzero(change == -1) + 1
    row, first, last = start // (columns + 2), start % (columns + 2) - 1, (stop - 1) % (columns + 2)
    group = _joined(len(start), *_touching(row, first, last, columns + 2))
    names, run_group = np.unique(group, return_inverse=True)
    areas = np.bincount(run_group, last - first, minlength=len(names)).astype(int)
    boxes = np.zeros((len(names), 4), int)
    boxes[:, :2] = max(rows, columns)
    for column, values, extreme in ((0, row, np.minimum), (1, first, np.minimum), (2, row + 1, np.maximum)):
        extreme.at(boxes[:, column], run_group, values)
    np.maximum.at(boxes[:, 3], run_group, last)
    order = np.argsort(-areas, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    labels = np.full(mask.shape, -1)
    labels[mask] = np.repeat(rank[run_group], last - first)
    return Components(labels, areas[order], boxes[order])


def _touching(row: np.ndarray, first: np.ndarray, last: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs (above, below) of runs that touch, corners included.

    Runs are in reading order; run i covers columns first[i] to last[i] - 1 of its row.
    """
    begin, end = row * width + first, row * width + last
    # among the runs of the row below: the first that ends at or after our start, the last that starts by our end
    low = np.searchsorted(end, begin + width, side="left")
    high = np.searchsorted(begin, end + width, side="right")
    count = np.maximum(high - low, 0)
    above = np.repeat(np.arange(len(row)), count)
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return above, np.repeat(low, count) + offset


def _joined(count: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return for each of ``count`` nodes the smallest node that edges (one, other) connect it with."""
    parent = np.arange(count)
    while True:
        before = parent.copy()
        least = np.minimum(parent[one], parent[other])
        np.minimum.at(parent, parent[one], least)
        np.minimum.at(parent, parent[other], least)
        parent = parent[parent]
        if (parent == before).all() and (parent[one] == parent[other]).all():
            return parent
