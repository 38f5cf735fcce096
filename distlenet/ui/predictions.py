"""What ``distlenet predict`` prints: a line for each digit, what the network saw, or JSON."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.text import Text

from distlenet.errors import PictureError, SeveralDigits, report
from distlenet.streams import clean, note
from distlenet.ui.console import make_console

TRY_MANY = "try --many"
TOP = 3  # classes named for each digit
SHADES = " .:-=+*#%@"  # where there are no colours


@dataclass(frozen=True)
class Prediction:
    """What one digit of a picture was taken for."""

    ranking: list[tuple[str, float]]  # all class names and probabilities, the likeliest first
    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels of the picture
    image: np.ndarray  # (rows, columns) uint8: what the network saw
    looks_like: int = 1  # digits: more where several were taken for one

    @property
    def top(self) -> list[tuple[str, float]]:
        """The likeliest classes."""
        return self.ranking[:TOP]

    @property
    def none(self) -> float:
        """The probability of none of the classes: more than 0 only for a network with a rubbish class."""
        return max(0.0, 1 - sum(probability for _, probability in self.ranking))


@dataclass(frozen=True)
class Reading:
    """What was read in one picture: its digits, or the error that says why there are none."""

    file: str
    digits: Sequence[Prediction] = ()
    several: bool = False  # whether the file has further frames: the first was read
    error: PictureError | None = None

    @property
    def source(self) -> str:
        """The file, and which of its frames was read if there are several."""
        return f"{self.file} (the first of several frames)" if self.several else self.file


def show(reading: Reading, pictures: bool) -> None:
    """Print ``reading``: the labels of several digits together, then a line for each digit; or its error."""
    if reading.error is not None:
        sentence = str(reading.error) + (f": {TRY_MANY}" if isinstance(reading.error, SeveralDigits) else "")
        report(PictureError(sentence if reading.file in sentence else f"{reading.file}: {sentence}"))
        return
    console, several = make_console(), len(reading.digits) > 1
    if several:
        labels = [digit.top[0][0] for digit in reading.digits]
        gap = "" if all(len(label) == 1 for label in labels) else " "
        console.print(Text(f"{clean(reading.source)}: {clean(gap.join(labels))}"), soft_wrap=True)
    for digit in reading.digits:
        head = "  " if several else f"{clean(reading.source)}: "
        parts = [f"{clean(name)} {share(probability)}" for name, probability in digit.top]
        if digit.none >= 0.005:
            parts.append(f"none of these {share(digit.none)}")
        console.print(Text(head + "  ".join(parts)), soft_wrap=True)
        if pictures:
            console.print(drawn(digit.image) if console.is_terminal else in_letters(digit.image))
    sys.stdout.flush()  # before the next picture, or its error on stderr
    for digit in reading.digits:
        if digit.looks_like > 1:
            note(f"{reading.file} looks like {digit.looks_like} digits, and one was read: {TRY_MANY}")


def share(probability: float) -> str:
    """Return ``probability`` in percent; 100 % would be certainty, which no network has."""
    percent = 100 * probability
    if percent >= 99.995:
        return ">99.99 %"
    return "<0.01 %" if 0 < percent < 0.005 else f"{percent:.2f} %"


def drawn(image: np.ndarray) -> Text:
    """Return ``image`` (rows, columns) uint8 as half blocks, two rows of it in each line of text."""
    image = np.pad(image, ((0, len(image) % 2), (0, 0)))
    text = Text(no_wrap=True)
    for upper, lower in zip(image[::2].tolist(), image[1::2].tolist(), strict=True):
        for above, below in zip(upper, lower, strict=True):
            text.append("▀", f"rgb({above},{above},{above}) on rgb({below},{below},{below})")
        text.append("\n")
    return text


def in_letters(image: np.ndarray) -> Text:
    """Return ``image`` (rows, columns) uint8 as letters, for files and pipes; a letter is as high as two pixels."""
    rows = image[: len(image) // 2 * 2].reshape(-1, 2, image.shape[1]).mean(axis=1)
    places = (rows * (len(SHADES) - 1) / 255).round().astype(int)
    return Text("\n".join("".join(SHADES[place] for place in row) for row in places.tolist()), no_wrap=True)


def to_json(readings: Sequence[Reading]) -> str:
    """Return a JSON list: for each picture in turn an object for each of its digits, or one with its error.

    ``argument`` is the picture's position on the command line, from 0: a file may stand there twice. ``frames`` is 1,
    or null where there are more: they are not counted. ``looks_like`` is more than 1 where several digits stand in a
    row and one was asked for.
    """
    found = []
    for place, reading in enumerate(readings):
        if reading.error is not None:
            found.append({"file": reading.file, "argument": place, "error": str(reading.error)})
        for digit in reading.digits:
            label, probability = digit.top[0]
            found.append(
                {
                    "file": reading.file,
                    "argument": place,
                    "label": label,
                    "probability": probability,
                    "top": [{"label": name, "probability": value} for name, value in digit.top],
                    "none_of_these": digit.none,
                    "looks_like": digit.looks_like,
                    "frames": None if reading.several else 1,
                    "box": dict(zip(("left", "top", "right", "bottom"), digit.box, strict=True)),
                }
            )
    return json.dumps(found)
