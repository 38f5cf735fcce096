"""Figures of the network: kernels, what goes through the layers for one image, weights and their gradients."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from distlenet.nn import Net
from distlenet.report.figure import COLOURS, new_figure, plain_text, quiet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 16  # kernels shown along each axis
TILES = 16  # feature maps side by side
TOP = 1.4  # inches: the image and the probabilities


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
        axes.set_yticks([side[0] * i + side[0] / 2 for i in range(rows)], range(rows), fontsize=7)
        axes.set_xticks([side[1] * i + side[1] / 2 for i in range(columns)], range(columns), fontsize=7)
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


def _bars(axes: object, probabilities: np.ndarray, names: Sequence[str], layer: str) -> None:
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
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel("norm of the weights")
    axes.grid(True, alpha=0.25)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure
