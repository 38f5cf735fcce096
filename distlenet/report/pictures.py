"""Pictures of the page: images, feature maps and kernels as tiles; and figures of answers, weights and norms."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distlenet.data.augmentation import Augmentation, Resampler
from distlenet.data.slices import DatasetSlice
from distlenet.nn import Net
from distlenet.report.figure import COLOURS, HALF, TEXT, by_epoch, new_figure, plain_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBERED = 20  # with more classes than this the counts are not legible in their cells
MARKED = 75  # classes that have room for their names along an axis
MISTAKES = 24
COPIES = 9  # of each image, after the image itself
MOST = 16  # kernels shown along each axis
TILES = 32  # feature maps of a layer
LIKELIEST = 12  # classes whose probabilities are shown
# Seen on light and on dark ground alike: a value is the share of its colour, and zero is the ground.
POSITIVE, NEGATIVE, INK = (31, 119, 196), (214, 106, 26), (27, 31, 36)
UNNAMED: Any = {"Software": None}  # a tile is hardly longer than the name of the program that draws it
WHITE = "#fefefe"  # on a cell that is dark on either page; other whites follow the page


@dataclass(frozen=True)
class Answers:
    """The answers of the network on the images of ``part``."""

    part: DatasetSlice
    labels: np.ndarray  # (n,)
    predicted: np.ndarray  # (n,)
    probability: np.ndarray  # (n,) of the predicted class
    confusion: np.ndarray  # (classes, classes) int64, [true, predicted]

    def images(self, places: np.ndarray) -> np.ndarray:
        """Return the images uint8 (len(places), rows, columns) at ``places`` of the part."""
        rows = (self.part.start + int(place) for place in places)
        return np.concatenate([self.part.digits.read(self.part.split, row, row + 1)[0] for row in rows])


@dataclass(frozen=True)
class Tile:
    """A small picture; ``caption`` is a line of text, or several, below it."""

    png: str  # base64
    caption: Sequence[str] = ()


@dataclass(frozen=True)
class Tiles:
    """Small pictures in rows; ``label`` describes all of them."""

    label: str
    tiles: list[Tile]
    columns: int = 0  # 0: as many as have room
    kind: str = "ink"  # images; "map": values in two colours; "units": the same, in one row
    largest: float | None = None  # the value of the full colour, for the scale


@dataclass(frozen=True)
class Bar:
    """The probability of a class."""

    name: str
    width: str  # %
    text: str
    first: bool  # whether it is the answer


def png(values: np.ndarray, positive: tuple[int, ...] = POSITIVE) -> str:
    """Return ``values`` (rows, columns) from -1 to 1 as a PNG file in base64: colours on a transparent ground."""
    from matplotlib.image import imsave

    values = np.nan_to_num(values)
    pixels = np.empty((*values.shape, 4), np.uint8)
    pixels[..., :3] = np.where(values[..., None] < 0, NEGATIVE, positive)
    pixels[..., 3] = np.rint(255 * np.minimum(np.abs(values), 1))
    stream = io.BytesIO()
    imsave(stream, pixels, format="png", metadata=UNNAMED)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def image(pixels: np.ndarray, *caption: str) -> Tile:
    """Return the image ``pixels`` (rows, columns), 0 to 1 where 1 is ink."""
    return Tile(png(pixels, INK), caption)


def confusion(counts: np.ndarray, names: Sequence[str]) -> "Figure":
    """Draw the confusion matrix ``counts`` (classes, classes), [true, predicted], shaded by share of the true class."""
    from matplotlib.colors import ListedColormap, SymLogNorm

    classes = len(names)
    figure = new_figure(*((HALF, HALF) if classes <= NUMBERED else (9.0, 10.2)))
    axes = figure.subplots()
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shades = ListedColormap([(*(part / 255 for part in POSITIVE), alpha / 255) for alpha in range(256)])
    norm = SymLogNorm(linthresh=0.1, vmin=0, vmax=100)
    picture = axes.imshow(shares, cmap=shades, norm=norm, interpolation="none")
    longest = max(map(len, names))
    size = 9 if classes <= NUMBERED else 7
    marked = range(0, classes, -(-classes // MARKED))
    texts = [plain_text(names[i], 16) for i in marked]
    axes.set_xticks(marked, texts, fontsize=size, rotation=0 if longest <= 2 else 90)
    axes.set_yticks(marked, texts, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.spines[:].set_visible(False)
    if classes > NUMBERED:
        bar = figure.colorbar(picture, ax=axes, shrink=0.8, ticks=[0, 0.1, 1, 10, 100])
        bar.set_label("% of the true class")
        bar.ax.set_yticklabels(["0", "0.1", "1", "10", "100"])
        return figure
    cell = 9 if classes <= 10 and counts.max() < 10_000 else 5.5
    for (true, predicted), count in np.ndenumerate(counts):
        if count:
            colour = WHITE if norm(shares[true, predicted]) > 0.8 else TEXT
            axes.text(predicted, true, f"{count}", ha="center", va="center", fontsize=cell, color=colour)
    return figure


def mistakes(answers: Answers, names: Sequence[str]) -> Tiles | None:
    """Return the images whose wrong class got the largest probabilities; None if there is no mistake."""
    wrong = np.flatnonzero(answers.labels != answers.predicted)
    if not len(wrong):
        return None
    order = wrong[np.argsort(-answers.probability[wrong], kind="stable")][:MISTAKES]
    tiles = []
    for place, pixels in zip(order, answers.images(order) / 255, strict=True):
        true, predicted = names[answers.labels[place]], names[answers.predicted[place]]
        tiles.append(image(pixels, f"{true} read as {predicted}", percent(answers.probability[place])))
    return Tiles("The wrong answers with the largest probabilities.", tiles)


def augmented(images: np.ndarray, augmentation: Augmentation, seed: int) -> Tiles:
    """Return ``images`` uint8 (n, rows, columns), and after each some augmented copies."""
    count, rows, columns = images.shape
    resampler = Resampler(rows, columns, 0.0, 1.0)
    noise = augmentation.noise(seed, 0, 0, count * COPIES)
    maps = augmentation.maps(noise, rows, columns)
    repeated = np.repeat(images, COPIES, axis=0)
    if augmentation.own:
        repeated = augmentation.own.apply(repeated, seed, 0, 0, 0)
    copies = resampler.warp(repeated, maps)[0].transpose(2, 0, 1)  # (n * COPIES, H, W)
    tiles: list[Tile] = []
    for row in range(count):
        tiles += map(image, [images[row] / 255, *copies[row * COPIES : (row + 1) * COPIES]])
    return Tiles("Training images, the first of each row as it is, then augmented.", tiles, COPIES + 1)


def kernels(name: str, weights: np.ndarray) -> Tiles:
    """Return the kernels of a convolution: ``weights`` (outputs, inputs, rows, columns), or (kernels, rows, columns).

    At most the first MOST of the outputs and of the inputs.
    """
    if weights.ndim == 3:  # a convolution that sees some of its inputs: its kernels one after the other
        weights, columns, order = weights[: MOST * MOST], min(MOST, len(weights)), "one for each connection"
    else:
        weights, order = weights[:MOST, :MOST], "a row for each output map, a column for each input map"
        if len(weights) > weights.shape[1]:  # wide rather than high
            weights = weights.transpose(1, 0, 2, 3)
            order = "a row for each input map, a column for each output map"
        columns = weights.shape[1]
        weights = weights.reshape(-1, *weights.shape[2:])
    values, largest = scaled(weights)
    return Tiles(f"Kernels of {name}, {order}.", [Tile(png(value)) for value in values], columns, "map", largest)


def scaled(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Return ``values`` divided by the largest magnitude, and that; values that are not finite become 0."""
    values = np.where(np.isfinite(values), values, 0).astype(np.float64)
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    return values / largest, largest


def features(name: str, output: np.ndarray) -> Tiles:
    """Return the output of a layer for one image: maps (C, H, W), or units (n,)."""
    values, largest = scaled(output)
    if output.ndim == 1:
        return Tiles(f"{name}: {len(output)} units", [Tile(png(values[None]))], 1, "units", largest)
    count, rows, columns = output.shape
    few = f", the first {TILES}" if count > TILES else ""
    label = f"{name}: {count} map{'s' * (count > 1)} of {rows} × {columns}{few}"
    return Tiles(label, [Tile(png(value)) for value in values[:TILES]], 0, "map", largest)


def likeliest(probabilities: np.ndarray, names: Sequence[str]) -> list[Bar]:
    """Return the bars of the likeliest classes, in the order of the classes."""
    probabilities = np.nan_to_num(probabilities)
    order = np.argsort(-probabilities, kind="stable")[:LIKELIEST]
    found = [(names[i], float(probabilities[i]), bool(i == order[0])) for i in np.sort(order)]
    rest = 1 - float(probabilities.sum())  # of the rubbish class of LeNet-5 (1998)
    found += [("none of them", rest, False)] * (rest > 0.005)
    return [Bar(name, f"{100 * share:.1f}", percent(share), first) for name, share, first in found]


def percent(share: float) -> str:
    """Return a probability as text; never 100 %, which would be certainty."""
    return ">99.9 %" if share > 0.9995 else f"{100 * share:.1f} %"


def histograms(net: Net) -> "dict[str, Figure]":
    """Draw the distribution of the weights of each layer."""
    figures = {}
    for name, parameter in net.parameters.items():
        if not parameter.is_weight:
            continue
        value = parameter.value
        figure = figures[f"weights-{name}"] = new_figure(1.8, 2.9)
        axes = figure.subplots()
        axes.hist(value.ravel(), bins=min(60, max(8, value.size // 8)), color=COLOURS[0])
        axes.set_title(f"{plain_text(name)} ({value.size:,})")
        axes.locator_params(axis="both", nbins=4)
    return figures


def norms(epochs: Sequence[int], by_name: dict[str, list[float]]) -> "Figure":
    """Draw the norm of each weight array at the checkpoints of ``epochs``."""
    return by_epoch("Norm of the weights", epochs, {plain_text(name): values for name, values in by_name.items()})
