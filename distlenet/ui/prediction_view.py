"""What ``distlenet predict`` prints: a line for each digit, what the network saw, or JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from rich.text import Text

from distlenet.errors import PictureError
from distlenet.ui.tables import make_console
from distlenet.ui.terminal import clean

SHADES = " .:-=+*#%@"  # where there are no colours


@dataclass(frozen=True)
class Prediction:
    """What one digit of a picture was taken for."""

    file: str
    top: list[tuple[str, float]]  # class names and probabilities, the likeliest first
    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels of the picture
    image: np.ndarray  # (rows, columns) uint8: what the network saw
    frames: int = 1  # of the file, of which the first was read

    @property
    def source(self) -> str:
        """The file, and which of its frames was read if there are several."""
        return self.file if self.frames == 1 else f"{self.file} (the first of {self.frames} frames)"


def show(predictions: Sequence[Prediction], pictures: bool) -> None:
    """Print ``predictions``: for each file the labels together, then a line for each digit."""
    console = make_console()
    for source, group in groupby(predictions, key=lambda prediction: prediction.source):
        digits = list(group)
        if len(digits) > 1:
            labels = [prediction.top[0][0] for prediction in digits]
            gap = "" if all(len(label) == 1 for label in labels) else " "
            console.print(Text(f"{clean(source)}: {clean(gap.join(labels))}"), soft_wrap=True)
        for digit in digits:
            head = "  " if len(digits) > 1 else f"{clean(source)}: "
            ranking = "  ".join(f"{clean(name)} {100 * probability:.2f} %" for name, probability in digit.top)
            console.print(Text(head + ranking), soft_wrap=True)
            if pictures:
                console.print(drawn(digit.image) if console.is_terminal else in_letters(digit.image))


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


def to_json(answers: Sequence[Prediction | tuple[str, PictureError]]) -> str:
    """Return the JSON list of ``answers``, which are predictions or (file, error)."""
    return json.dumps(
        [
            {
                "file": answer.file,
                "label": answer.top[0][0],
                "probability": answer.top[0][1],
                "top": [{"label": label, "probability": probability} for label, probability in answer.top],
                "frames": answer.frames,
                "box": dict(zip(("left", "top", "right", "bottom"), answer.box, strict=True)),
            }
            if isinstance(answer, Prediction)
            else {"file": answer[0], "error": str(answer[1])}
            for answer in answers
        ]
    )
