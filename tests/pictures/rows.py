"""Pictures of several digits: functions of 16 digits of 28x28, their labels and a generator.

Each returns the bytes of a picture of 2 to 8 of them and the text to be read.
"""

from collections.abc import Callable

import numpy as np
from inks import Rng, enlarged
from scenes import noisy, painted, picture, saved

Row = Callable[[np.ndarray, np.ndarray, Rng], tuple[bytes, str]]
HEIGHT = 100  # pixels, of a digit of usual size


def row_of(covers: list[np.ndarray], gaps: np.ndarray, rng: Rng, lean: float = 0.0) -> np.ndarray:
    """Return ``covers`` side by side, ``gaps`` between their boxes in pixels; ``lean`` is the slope of the line."""
    width = round(sum(cover.shape[1] for cover in covers) + gaps.sum())
    rise = abs(lean) * width
    line = np.zeros((round(2.2 * HEIGHT + rise), width + 2 * HEIGHT))
    left = float(HEIGHT)
    for cover, gap in zip(covers, [*gaps, 0], strict=True):
        middle = line.shape[0] / 2 + lean * (left - line.shape[1] / 2) + rng.normal(0, 0.03 * HEIGHT)
        top = int(middle - cover.shape[0] / 2)
        part = line[top : top + cover.shape[0], round(left) : round(left) + cover.shape[1]]
        np.maximum(part, cover[: part.shape[0], : part.shape[1]], out=part)
        left += cover.shape[1] + gap
    return line


def touching_gap(left: np.ndarray, right: np.ndarray, overlap: float) -> float:
    """Return the gap, usually negative, at which the ink of two neighbours overlaps by ``overlap`` pixels."""
    rows = max(left.shape[0], right.shape[0])
    one, other = (
        np.pad(cover, (((rows - len(cover)) // 2, -(-(rows - len(cover)) // 2)), (0, 0))) > 0.5
        for cover in (left, right)
    )
    after = np.where(one.any(axis=1), one[:, ::-1].argmax(axis=1), 10_000)  # paper right of the left one
    before = np.where(other.any(axis=1), other.argmax(axis=1), 10_000)
    return float(-(after + before).min() - overlap)


def broken(cover: np.ndarray, rng: Rng) -> np.ndarray:
    """Return ``cover`` with a gap, as if the pen had skipped: the bar of a 5 is separated."""
    rows, columns = cover.shape
    y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    at = rng.uniform(0.25, 0.4) * rows + rng.uniform(-0.2, 0.2) * (x - columns / 2)
    return np.where(np.abs(y - at) < rng.uniform(0.02, 0.04) * rows, 0, cover)


def written(lines: list[np.ndarray], rng: Rng, around: int) -> bytes:
    width = max(line.shape[1] for line in lines)
    page = np.concatenate([np.pad(line, ((0, 0), (0, width - line.shape[1]))) for line in lines])
    return saved(picture(noisy(painted(np.pad(page, around)), rng, 4)))


def row(
    low: float,
    high: float,
    *,
    touch: bool = False,
    sizes: tuple[float, float] = (0.95, 1.05),
    lean: float = 0.0,
    breaks: float = 0.0,
    lines: int = 1,
    most: int = 8,
    around: int = 0,
) -> Row:
    """Return a scene of rows whose gaps, or overlaps if they touch, are ``low`` to ``high`` heights.

    ``around`` is the width of the empty paper around them, in pixels.
    """

    def draw(digits: np.ndarray, labels: np.ndarray, rng: Rng) -> tuple[bytes, str]:
        written_lines, text, first = [], "", 0
        for _ in range(lines):
            count = int(rng.integers(2, most + 1))
            part = slice(first, first + count)
            covers = [enlarged(digit, HEIGHT / 20 * rng.uniform(*sizes), 1) for digit in digits[part]]
            covers = [broken(cover, rng) if rng.random() < breaks else cover for cover in covers]
            gaps = HEIGHT * rng.uniform(low, high, count - 1)
            if touch:
                gaps = np.array(
                    [touching_gap(a, b, gap) for a, b, gap in zip(covers[:-1], covers[1:], gaps, strict=True)]
                )
            written_lines.append(row_of(covers, gaps, rng, rng.uniform(-lean, lean)))
            text += "".join(map(str, labels[part]))
            first += count
        return written(written_lines, rng, around), text

    return draw


ROWS: dict[str, Row] = {
    "row: apart": row(0.3, 0.8),
    "row: close": row(0.04, 0.12),
    "row: touching": row(0.01, 0.04, touch=True),
    "row: two that touch": row(0.01, 0.04, touch=True, most=2),
    "row: of other sizes": row(0.15, 0.5, sizes=(0.6, 1.4)),
    "row: slanted": row(0.2, 0.5, lean=0.12),
    "row: broken": row(0.2, 0.5, breaks=0.4),
    "row: two lines": row(0.15, 0.5, lean=0.04, lines=2),
    "row: small on a sheet": row(0.1, 0.3, sizes=(0.4, 0.5), lines=2, around=600),
}
