"""Figures by class: the confusion matrix, and the mistakes the network was surest of."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from distlenet.report.figure import new_figure, plain_text, quiet
from distlenet.report.look import Answers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBERED = 20  # with more classes than this the counts are not legible in their cells
MARKED = 75  # classes that have room for their names along an axis
MISTAKES = (4, 6)  # rows and columns of pictures


def confusion(counts: np.ndarray, names: Sequence[str]) -> "Figure":
    """Draw the confusion matrix ``counts`` (classes, classes), [true, predicted], shaded by share of the true class."""
    classes = len(names)
    figure = new_figure(*((4.6, 5.6) if classes <= NUMBERED else (9.0, 10.2)))
    axes = figure.subplots()
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    from matplotlib.colors import SymLogNorm

    image = axes.imshow(shares, cmap="Blues", norm=SymLogNorm(linthresh=0.1, vmin=0, vmax=100))
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 0.1, 1, 10, 100])
    bar.set_label("% of the true class")
    bar.ax.set_yticklabels(["0", "0.1", "1", "10", "100"])
    longest = max(map(len, names))
    size = 9 if classes <= NUMBERED else 7
    marked = range(0, classes, -(-classes // MARKED))
    texts = [plain_text(names[i], 16) for i in marked]
    axes.set_xticks(marked, texts, fontsize=size, rotation=0 if longest <= 2 else 90)
    axes.set_yticks(marked, texts, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if classes <= NUMBERED:
        for (true, predicted), count in np.ndenumerate(counts):
            if count:
                white = shares[true, predicted] > 8  # on a dark cell
                cell = 8 if classes <= 10 and counts.max() < 10_000 else 5.5
                axes.text(
                    predicted,
                    true,
                    f"{count}",
                    ha="center",
                    va="center",
                    fontsize=cell,
                    color="white" if white else "black",
                )
    return figure


def mistakes(answers: Answers, names: Sequence[str]) -> "Figure | None":
    """Draw the images whose wrong class got the largest probabilities; None if there is no mistake."""
    wrong = np.flatnonzero(answers.labels != answers.predicted)
    if not len(wrong):
        return None
    order = wrong[np.argsort(-answers.probability[wrong], kind="stable")][: MISTAKES[0] * MISTAKES[1]]
    rows = -(-len(order) // MISTAKES[1])
    images = answers.images(order)  # (n, height, width)
    figure = new_figure((0.4 + 1.4 * images.shape[1] / images.shape[2]) * rows)
    grid = figure.subplots(rows, MISTAKES[1], squeeze=False).ravel()
    for axes in grid[len(order) :]:
        axes.set_axis_off()
    for axes, place, image in zip(grid, order, images, strict=False):
        quiet(axes, frame=True).imshow(image, cmap="gray_r", vmin=0, vmax=255)
        true, predicted = (plain_text(names[of[place]], 11) for of in (answers.labels, answers.predicted))
        axes.set_title(f"{true} read as {predicted}\n{100 * answers.probability[place]:.1f} %", fontsize=8)
    return figure
