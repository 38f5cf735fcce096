"""Figures made of pictures: mistakes, augmented images, kernels, what goes through the layers; weights and norms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from distlenet.data.augmentation import Augmentation, Resampler
from distlenet.data.slices import DatasetSlice
from distlenet.nn import Net
from distlenet.report.figure import COLOURS, new_figure, plain_text, quiet, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERED = 20  # with more classes than this the counts are not legible in their cells
MARKED = 75  # classes that have room for their names along an axis
MISTAKES = (4, 6)  # rows and columns of pictures
COPIES = 9  # of each image, beside the image itself
MOST = 16  # kernels shown along each axis
TILES = 16  # feature maps side by side
TOP = 1.4  # inches: the image and the probabilities


@dataclass(frozen=True)
class Answers:
    """What the network answers on the images of ``part``."""

    part: DatasetSlice
    labels: np.ndarray  # (n,)
    predicted: np.ndarray  # (n,)
    probability: np.ndarray  # (n,) of the predicted class
    confusion: np.ndarray  # (classes, classes) int64, [true, predicted]

    def images(self, places: np.ndarray) -> np.ndarray:
        """Return the images uint8 (len(places), rows, columns) at ``places`` of the part."""
        rows = (self.part.start + int(place) for place in places)
        return np.concatenate([self.part.digits.read(self.part.split, row, row + 1)[0] for row in rows])


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


def augmented(images: np.ndarray, augmentation: Augmentation, seed: int) -> "Figure":
    """Draw ``images`` uint8 (n, rows, columns), and beside each what the run's augmentation makes of it."""
    count, rows, columns = images.shape
    resampler = Resampler(rows, columns, 0.0, 1.0)
    noise = augmentation.noise(seed, 0, 0, count * COPIES)
    maps = augmentation.maps(noise, rows, columns)
    repeated = np.repeat(images, COPIES, axis=0)
    if augmentation.own:
        repeated = augmentation.own.apply(repeated, seed, 0, 0, 0)
    copies = resampler.warp(repeated, maps)[0].transpose(2, 0, 1)  # (n * COPIES, H, W)
    figure = new_figure(0.95 * count * rows / columns + 0.3)
    grid = figure.subplots(count, COPIES + 1, squeeze=False)
    for row in range(count):
        pictures = [images[row] / 255, *copies[row * COPIES : (row + 1) * COPIES]]
        for axes, picture in zip(grid[row], pictures, strict=True):
            quiet(axes, frame=True).imshow(picture, cmap="gray_r", vmin=0, vmax=1)
    grid[0, 0].set_title("as it is", fontsize=8)
    grid[0, 1].set_title("augmented", fontsize=8)
    return figure


def kernels(name: str, weights: np.ndarray) -> "Figure":
    """Draw the kernels of a convolution: ``weights`` (outputs, inputs, rows, columns), or (kernels, rows, columns).

    At most the first MOST of the outputs and of the inputs.
    """
    if weights.ndim == 3:  # a convolution that sees some of its inputs: its kernels one after the other
        across = min(MOST, len(weights))
        padded = np.full((-(-len(weights) // across) * across, *weights.shape[1:]), np.nan)
        padded[: len(weights)] = weights
        weights = padded.reshape(-1, across, *weights.shape[1:])
        down, right = "", "kernels, one for each connection"
    else:
        weights, down, right = weights[:MOST, :MOST], "output map", "input map"
        if len(weights) > weights.shape[1]:  # wide rather than high
            weights, down, right = weights.transpose(1, 0, 2, 3), right, down
    rows, columns = weights.shape[:2]
    picture = mosaic(weights.reshape(-1, *weights.shape[2:]), columns, np.nan)
    aspect = picture.shape[0] / picture.shape[1]
    width = min(8.0, 0.9 + 0.62 * columns)
    figure = new_figure(max(1.5, min(9.0, (width - 0.9) * aspect + 0.9)), width + 0.8)
    axes = quiet(figure.subplots())
    largest = float(np.nanmax(np.abs(weights))) or 1.0
    image = axes.imshow(picture, cmap="RdBu_r", vmin=-largest, vmax=largest)
    figure.colorbar(image, ax=axes, shrink=0.9, aspect=max(6, 20 * aspect), label="weight")
    side = [weights.shape[axis] + 1 for axis in (2, 3)]
    if down:
        axes.set_yticks([side[0] * i + side[0] / 2 for i in range(rows)], list(map(str, range(rows))), fontsize=7)
        axes.set_xticks([side[1] * i + side[1] / 2 for i in range(columns)], list(map(str, range(columns))), fontsize=7)
    axes.tick_params(length=0)
    axes.set_ylabel(down)
    axes.set_xlabel(right)
    axes.set_title(plain_text(name), fontsize=10)
    return figure


def mosaic(pictures: np.ndarray, columns: int, gap: float) -> np.ndarray:
    """Return ``pictures`` (n, H, W) as one picture, ``columns`` side by side, ``gap`` between and around them."""
    count, height, width = pictures.shape
    rows = -(-count // columns)
    picture = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1), gap, np.float64)
    for place, part in enumerate(pictures):
        top, left = (place // columns) * (height + 1) + 1, (place % columns) * (width + 1) + 1
        picture[top : top + height, left : left + width] = part
    return picture


def features(
    image: np.ndarray, maps: list[tuple[str, np.ndarray]], probabilities: np.ndarray, names: Sequence[str], label: int
) -> "Figure":
    """Draw what every layer puts out for one image.

    ``image`` is uint8 (rows, columns), ``maps`` are (layer, (C, H, W) or (units,)), ``probabilities`` (classes,).
    """
    strips = [(name, _strip(value)) for name, value in maps[:-1]]
    heights = [TOP, *(_height(value, strip) for (_, value), (_, strip) in zip(maps, strips, strict=False))]
    figure = new_figure(sum(heights) + 0.1 * len(heights) + 0.4)
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=[1, 6])
    top = quiet(figure.add_subplot(grid[0, 0]))
    top.imshow(image, cmap="gray_r", vmin=0, vmax=255)
    top.set_title(plain_text(names[label], 14), fontsize=9)
    _bars(figure.add_subplot(grid[0, 1]), probabilities, names, maps[-1][0])
    for row, (name, picture) in enumerate(strips, 1):
        text = quiet(figure.add_subplot(grid[row, 0]))
        text.set_axis_off()
        text.text(1, 0.5, plain_text(name, 16), ha="right", va="center", fontsize=8, transform=text.transAxes)
        axes = quiet(figure.add_subplot(grid[row, 1]))
        axes.imshow(picture, cmap="viridis", aspect="equal" if len(picture) > 1 else "auto", interpolation="nearest")
        axes.set_anchor("W")
    return figure


def _strip(value: np.ndarray) -> np.ndarray:
    """Return a layer's output as one picture: maps (C, H, W) side by side, units (n,) in a row."""
    return mosaic(value, min(TILES, len(value)), np.nan) if value.ndim == 3 else value[None]


def _height(value: np.ndarray, strip: np.ndarray) -> float:
    """Return how many inches of height the picture ``strip`` of ``value`` takes."""
    if value.ndim == 1:
        return 0.25
    width = min(7.3, (0.8 if len(value) <= TILES // 2 else 0.45) * min(TILES, len(value)))
    return width * strip.shape[0] / strip.shape[1]


def _bars(axes: "Axes", probabilities: np.ndarray, names: Sequence[str], layer: str) -> None:
    order = np.arange(len(names)) if len(names) <= 12 else np.sort(np.argsort(-probabilities, kind="stable")[:12])
    axes.bar(range(len(order)), 100 * probabilities[order], color=COLOURS[0])
    texts = [plain_text(names[i], 11) for i in order]
    axes.set_xticks(range(len(order)), texts, fontsize=6)
    axes.set_ylim(0, 100)
    axes.set_ylabel("%", fontsize=8)
    axes.tick_params(axis="y", labelsize=7)
    few = "" if len(order) == len(names) else ", the 12 likeliest classes"
    rest = 1 - float(probabilities.sum())  # of the rubbish class of LeNet-5 (1998)
    none = f"; {100 * rest:.0f} % none of the classes" if rest > 0.005 else ""
    axes.set_title(f"{plain_text(layer)}: probability{few}{none}", fontsize=8)


def histograms(net: Net) -> "Figure":
    """Draw how the weights of each layer are distributed."""
    weights = {name: parameter.value for name, parameter in net.parameters.items() if parameter.is_weight}
    columns = min(4, len(weights))
    rows = -(-len(weights) // columns)
    figure = new_figure(1.9 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(weights) :]:
        axes.set_axis_off()
    for axes, (name, value) in zip(grid, weights.items(), strict=False):
        axes.hist(value.ravel(), bins=min(60, max(8, value.size // 8)), color=COLOURS[0])
        axes.set_title(f"{plain_text(name)} ({value.size:,})", fontsize=9)
        axes.tick_params(labelsize=7)
        axes.locator_params(axis="both", nbins=4)
    return figure


def norms(epochs: Sequence[int], by_name: dict[str, list[float]]) -> "Figure":
    """Draw the norm of each weight array at the checkpoints of ``epochs``."""
    figure = new_figure(2.9)
    axes = figure.subplots()
    for place, (name, values) in enumerate(by_name.items()):
        axes.plot(epochs, values, marker=".", color=COLOURS[place % len(COLOURS)], label=plain_text(name))
    axes.set_xlabel("epochs done")
    whole_numbers(axes)
    axes.set_ylabel("norm of the weights")
    axes.grid(True, alpha=0.25)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure
