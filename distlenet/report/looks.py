"""The sections of the report for which the network looks at images."""

import numpy as np

from distlenet.data.augmentation import Augmentation, Resampler
from distlenet.data.file.dataset_file import DigitFile
from distlenet.nn import Net
from distlenet.nn.inspection import outputs
from distlenet.report import classes, layers, look, samples
from distlenet.report.book import Book
from distlenet.report.run import Run
from distlenet.training.metrics import accuracy, per_class

CONFUSIONS = 15  # most frequent ones, listed
DIGITS = 3  # images that are followed through the layers
AUGMENTED = 4  # images of which augmented copies are shown


def by_class(book: Book, found: look.Answers, looked_at: str, names: tuple[str, ...]) -> None:
    """Add the confusion matrix, the surest mistakes and the table of classes."""
    section = book.section("Confusion matrix")
    total = int(found.confusion.sum())
    section.text(f"Of {total:,} {looked_at}; accuracy {accuracy(found.confusion):.2%}.")
    book.figure(section, "confusion", classes.confusion(found.confusion, names), "True against predicted classes.")
    wrong = found.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]
    pairs = [(true, predicted) for true, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True)]
    rows = [(names[t], names[p], f"{wrong[t, p]:,}") for t, p in pairs if wrong[t, p]]
    section.table(rows, ["true", "most often read as", "images"])
    section = book.section("Most confident mistakes")
    figure = classes.mistakes(found, names)
    if figure is None:
        section.text(f"There is no mistake among the {looked_at}.")
    book.figure(section, "mistakes", figure, "The wrong answers with the largest probabilities.")
    figures = per_class(found.confusion)
    rows = [
        (
            name,
            *(f"{100 * figures[key][i]:.2f} %" for key in ("precision", "recall", "f1")),
            f"{figures['support'][i]:,.0f}",
        )
        for i, name in enumerate(names)
    ]
    book.section("Classes").table(rows, ["class", "precision", "recall", "F1", "images"])


def through_the_layers(book: Book, net: Net, found: look.Answers, resampler: Resampler, names: tuple[str, ...]) -> None:
    """Add what every layer puts out for a few images: of classes far apart, rightly answered where there are any."""
    section = book.section("Through the layers")
    wanted = np.unique(np.linspace(0, len(names) - 1, DIGITS).round().astype(int))
    places = []
    for label in wanted:
        right = np.flatnonzero((found.labels == label) & (found.predicted == label))
        some = right if len(right) else np.flatnonzero(found.labels == label)
        places += some[:1].tolist()
    if not places:
        return
    images = found.images(np.array(places))
    maps = outputs(net, resampler.normalize(images))
    probabilities = net.loss.probabilities(maps[-1][1])  # (classes, n)
    for i, place in enumerate(places):
        label = int(found.labels[place])
        # flattening changes the order of nothing: the layer before shows the same
        own = [(name, value[..., i]) for name, value in maps if "flatten" not in name.lower()]
        figure = layers.features(images[i], own, probabilities[:, i], names, label)
        book.figure(section, f"layers-{label}", figure, f"What the layers put out for an image of {names[label]}.")


def augmentation(book: Book, run: Run, digits: DigitFile) -> None:
    """Add what augmentation makes of training images."""
    config = run.checkpoint.config
    ranges = Augmentation(**config.ranges)
    section = book.section("Augmentation")
    if not ranges.active:
        section.text("The run trained on the images as they are.")
        return
    images, _ = digits.read("train", 0, min(AUGMENTED, digits.length("train")))
    section.text(f"{str(ranges).capitalize()}: at most, drawn anew for every image and epoch.")
    book.figure(section, "augmentation", samples.augmented(images, ranges, config.seed), "Training images, augmented.")
