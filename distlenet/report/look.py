"""The network of a run looks at images: what it answers, what goes through its layers, what its gradient is."""

from dataclasses import dataclass

import numpy as np

from distlenet.data.augmentation import Resampler
from distlenet.data.file.dataset_file import DigitFile
from distlenet.errors import DataError
from distlenet.nn import Net
from distlenet.parallel import Serial
from distlenet.report.run import Run
from distlenet.training.evaluation import DatasetSlice, Slices, own_chunks

GRADIENT_IMAGES = 500


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


def check_data(run: Run, digits: DigitFile) -> None:
    """Raise DataError unless ``digits`` is what the run was trained on."""
    trained = run.checkpoint.dataset
    if digits.fingerprint != trained.fingerprint:
        raise DataError(
            f"{digits.path} ({digits.name}, fingerprint {digits.fingerprint[:12]}) is not what {run.path} was trained "
            f"on ({trained.name}, fingerprint {trained.fingerprint[:12]}): name that file by --data"
        )


def shown_part(run: Run, digits: DigitFile) -> tuple[DatasetSlice, str]:
    """Return the images on which the report looks, and what to call them.

    The test images only when the run is over and has read them itself: nothing must be chosen by them.
    """
    slices = Slices.of(digits, run.checkpoint.config)
    if run.complete:
        return slices.test, "test images"
    if slices.validation:
        return slices.validation, "validation images (the test images wait for the end of the run)"
    return slices.sample, "training images (none were held back, and the test images wait for the end of the run)"


def answers(net: Net, part: DatasetSlice, resampler: Resampler, classes: int) -> Answers:
    """Let ``net`` look at all images of ``part``; raises DataError if they are damaged."""
    labels, predicted, probability = [], [], []
    for _, images, true in own_chunks(part, Serial()):
        logits = net.forward(resampler.normalize(images))  # (classes, n)
        labels.append(true)
        predicted.append(logits.argmax(axis=0))
        probability.append(net.loss.probabilities(logits).max(axis=0))
    labels, predicted, probability = map(np.concatenate, (labels, predicted, probability))
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    return Answers(part, labels, predicted, probability, confusion)


def mean_gradient(net: Net, run: Run, digits: DigitFile, resampler: Resampler) -> tuple[np.ndarray, str]:
    """Return the mean gradient (parameters,) over some images, not augmented, and what these are.

    They are of the validation set; of the training set if nothing was held back.
    """
    slices = Slices.of(digits, run.checkpoint.config)
    part, name = slices.validation or slices.sample, "validation" if slices.validation else "training"
    count = min(len(part), GRADIENT_IMAGES)
    images, labels = digits.read(part.split, part.start, part.start + count, verify=True)
    gradient = np.zeros_like(net.theta)
    net.loss_and_grad(resampler.normalize(images), labels.astype(np.intp), gradient)
    return gradient / count, f"{count} {name} images"
