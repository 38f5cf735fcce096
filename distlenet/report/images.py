"""Sections of the report that need images: answers, outputs of layers, augmentation, mean gradient."""

import numpy as np

from distlenet.data.augmentation import build_augmentation
from distlenet.data.file.dataset_file import DigitFile
from distlenet.data.slices import DatasetSlice, Slices
from distlenet.errors import ConfigError, DataError, UntrustedCodeError
from distlenet.nn import Flatten
from distlenet.reader import Reader, confusions, per_class
from distlenet.report import pictures
from distlenet.report.page import Book
from distlenet.report.pictures import Answers
from distlenet.runs.record import Run
from distlenet.training.evaluation import accuracy

GRADIENT_IMAGES = 500
WORST = 8  # pairs of classes
DIGITS = 3  # images that are followed through the layers
AUGMENTED = 4  # images of which augmented copies are shown


def check_data(run: Run, digits: DigitFile) -> None:
    """Raise DataError unless ``digits`` is what the run was trained on."""
    trained = run.checkpoint.dataset
    if digits.fingerprint != trained.fingerprint:
        raise DataError(
            f"{digits.path} ({digits.name}, fingerprint {digits.fingerprint[:12]}) is not what {run.path} was trained "
            f"on ({trained.name}, fingerprint {trained.fingerprint[:12]}): give that file with --data"
        )


def shown_part(run: Run, digits: DigitFile) -> tuple[DatasetSlice, str]:
    """Return the images that the report shows, and their name.

    Test images only once the run is complete and has read them itself: nothing must be chosen by them.
    """
    slices = Slices.of(digits, run.checkpoint.config)
    if run.complete:
        return slices.test, "test images"
    if slices.validation:
        return slices.validation, "validation images (the test images wait for the end of the run)"
    return slices.sample, "training images (none were held back, and the test images wait for the end of the run)"


def answers(reader: Reader, part: DatasetSlice) -> Answers:
    """Evaluate all images of ``part`` with ``reader``; raises DataError if they are damaged."""
    found: list[tuple[np.ndarray, ...]] = []
    for _, images, labels in part.read(range(part.chunks)):
        logits = reader.logits(images)  # (classes, n)
        found.append((labels, logits.argmax(axis=0), reader.likely(logits).max(axis=0)))
    true, answered, probability = map(np.concatenate, zip(*found, strict=True))
    confusion = np.zeros((len(reader.class_names),) * 2, np.int64)
    np.add.at(confusion, (true, answered), 1)
    return Answers(part, true, answered, probability, confusion)


def mean_gradient(reader: Reader, run: Run, digits: DigitFile) -> tuple[np.ndarray, str]:
    """Return the mean gradient (parameters,) over some images, not augmented, and a description of these.

    Validation images, or training images if nothing was held back.
    """
    slices = Slices.of(digits, run.checkpoint.config)
    part, name = slices.validation or slices.sample, "validation" if slices.validation else "training"
    count = min(len(part), GRADIENT_IMAGES)
    images, labels = digits.read(part.split, part.start, part.start + count, verify=True)
    return reader.gradient(images, labels), f"{count} {name} images"


def by_class(book: Book, found: Answers, shown: str, names: tuple[str, ...]) -> None:
    """Add the confusion matrix, the table of classes, the worst pairs and the surest mistakes."""
    classes = len(names)
    section = book.section("Confusion matrix", half=classes <= pictures.NUMBERED)
    total = int(found.confusion.sum())
    section.text(f"Of {total:,} {shown}; accuracy {accuracy(found.confusion):.2%}.")
    caption = "True and predicted classes; the stronger the colour, the larger the share of the true class."
    book.figure(section, "confusion", pictures.confusion(found.confusion, names), caption)
    section = book.section("Classes", half=classes <= pictures.NUMBERED)
    figures = per_class(found.confusion)
    rows = [
        (
            name,
            *(f"{100 * figures[key][i]:.2f} %" for key in ("precision", "recall", "f1")),
            f"{figures['support'][i]:,.0f}",
        )
        for i, name in enumerate(names)
    ]
    section.table(rows, ["class", "precision", "recall", "F1", "images"])
    if pairs := confusions(found.confusion, names):
        section.heading("Worst pairs")
        section.table(pairs[:WORST], ["true", "most often read as", "images"])
    section = book.section("Most confident mistakes")
    tiles = pictures.mistakes(found, names)
    if tiles is None:
        section.text(f"There is no mistake among the {shown}.")
    else:
        section.tiles(tiles)


def through_the_layers(book: Book, reader: Reader, found: Answers) -> None:
    """Add what every layer outputs for a few images: of classes far apart, rightly answered where there are any."""
    section = book.section("Through the layers")
    names = reader.class_names
    wanted = np.unique(np.linspace(0, len(names) - 1, DIGITS).round().astype(int))
    places = []
    for label in wanted:
        right = np.flatnonzero((found.labels == label) & (found.predicted == label))
        some = right if len(right) else np.flatnonzero(found.labels == label)
        places += some[:1].tolist()
    if not places:
        return
    images = found.images(np.array(places))
    maps = reader.outputs(images)
    probabilities = reader.likely(maps[-1][1])  # (classes, n)
    # flattening changes the order of nothing: the layer before shows the same
    shown = [(layer.name, output) for layer, output in maps if not isinstance(layer, Flatten)]
    section.text("Each layer has its own scale: blue above zero, orange below.")
    for i, place in enumerate(places):
        name = names[int(found.labels[place])]
        section.heading(f"An image of {name}")
        bars = pictures.likeliest(probabilities[:, i], names)
        section.answer(pictures.image(images[i] / 255), f"An image of {name}", bars)
        section.layers([pictures.features(layer, value[..., i]) for layer, value in shown])


def augmentation(book: Book, run: Run, digits: DigitFile) -> None:
    """Add what augmentation makes of training images."""
    config, section = run.checkpoint.config, book.section("Augmentation")
    try:
        ranges = build_augmentation(config, *digits.image_shape, run.checkpoint.trust)
    except UntrustedCodeError:
        section.text(f"Not shown: it runs your own code, {config.augmentation}, which --trust-code allows.")
        return
    except ConfigError as error:
        section.text(f"Not shown: {error}.")
        return
    if str(ranges) == "none":
        section.text("The run trained on the images as they are.")
        return
    images, _ = digits.read("train", 0, min(AUGMENTED, digits.length("train")))
    section.text(f"{str(ranges).capitalize()}: at most, drawn again for every image and epoch.")
    section.tiles(pictures.augmented(images, ranges, config.seed))
