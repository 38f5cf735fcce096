"""The last screen of a run (its result and commands to try next), and the digits read in pictures.

``python -m distlenet.ui.results RUN DATA`` shows that screen for a finished run, at the end of scripts/quickstart.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from distlenet.bounded import read_json
from distlenet.errors import PictureError, SeveralDigits, report
from distlenet.reader import LEAST
from distlenet.scores import Scores
from distlenet.streams import clean, note, reason, safe_streams
from distlenet.ui.console import make_console
from distlenet.ui.text import Hints, duration, hints, percent

TRY_MANY = "try --many"
TOP = 3  # classes named for each digit
SHADES = " .:-=+*#%@"  # for output without colours


class Ending:
    """The result of a run as lines for a small window. Commands stay on one line, so that they can be copied."""

    def __init__(self, summary: Mapping[str, Any], hints: Hints = ()) -> None:
        self._summary, self._hints = summary, hints if summary.get("status") == "complete" else ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = result_rows(self._summary)
        left = max((len(name) for name, _ in rows), default=0) + 2
        for name, text in rows:
            yield Text.assemble((name.ljust(left), "dim"), clean(text), overflow="fold")
        if self._hints:
            yield Text("next", "dim")
        column = max((len(clean(command)) for command, _ in self._hints), default=0) + 4
        roomy = all(column + len(purpose) < options.max_width for _, purpose in self._hints)
        for command, purpose in self._hints:
            line = Text(f"  {clean(command)}", no_wrap=True, overflow="ignore")
            if roomy:
                line.append(" " * (column - line.cell_len) + purpose, "dim")
            yield line


def result_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return rows (name, text) for the content of summary.json; missing keys give no row."""

    def found(key: str, text: str = "{}") -> str:
        return text.format(summary[key]) if summary.get(key) is not None else ""

    def joined(*parts: str) -> str:
        return ", ".join(filter(None, parts))

    accuracy, valid, seconds = (summary.get(key) for key in ("test_accuracy", "val_accuracy", "seconds"))
    tests = (("", accuracy), ("error ", summary.get("test_error")))
    rows = [
        ("status", joined(found("status"), found("epochs", "epochs: {:,}"), found("steps", "steps: {:,}"))),
        ("test accuracy", joined(*(f"{word}{percent(v)}" for word, v in tests if v is not None))),
        ("parameters", joined(found("evaluated"), f"valid {percent(valid)}" if valid is not None else "")),
    ]
    for event in summary.get("divergences") or []:
        rows.append(("diverged", f"{event['kind']} in epoch {event['epoch'] + 1}: {event['action']}"))
    speed = joined(found("images_per_second", "{:,.0f} images/s"), found("ranks", "ranks: {}"))
    rows += [
        ("time", joined(duration(seconds) if seconds is not None else "", speed)),
        ("run", found("run")),
        ("theta sha256", found("theta_sha256", "{:.12}")),
    ]
    return [(name, text) for name, text in rows if text]


@dataclass(frozen=True)
class Prediction:
    """The network's answer for one digit of a picture."""

    ranking: list[tuple[str, float]]  # all class names and probabilities, the likeliest first
    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels of the picture
    image: np.ndarray  # (rows, columns) uint8: the network's input
    looks_like: int = 1  # number of digits that the picture seems to hold, if several were read as one

    @property
    def top(self) -> list[tuple[str, float]]:
        """The likeliest classes."""
        return self.ranking[:TOP]

    @property
    def label(self) -> str | None:
        """The likeliest class, or None if it is not likely enough to be an answer."""
        name, probability = self.ranking[0]
        return name if probability >= LEAST else None

    @property
    def none(self) -> float:
        """The probability that it is none of the classes; above 0 only for a network with a rubbish class."""
        return max(0.0, 1 - sum(probability for _, probability in self.ranking))


@dataclass(frozen=True)
class Reading:
    """The digits read in one picture, or the error if it could not be read."""

    file: str
    digits: Sequence[Prediction] = ()
    several: bool = False  # whether the file has more frames than the first, which was read
    error: PictureError | None = None

    @property
    def source(self) -> str:
        """The file, with a note if only the first of several frames was read."""
        return f"{self.file} (the first of several frames)" if self.several else self.file


def show_reading(reading: Reading, pictures: bool) -> None:
    """Print ``reading``: its error, or a line for each digit, after the joined labels if there are several."""
    if reading.error is not None:
        sentence = str(reading.error) + (f": {TRY_MANY}" if isinstance(reading.error, SeveralDigits) else "")
        report(PictureError(sentence if reading.file in sentence else f"{reading.file}: {sentence}"))
        return
    console, several = make_console(), len(reading.digits) > 1
    if several:
        labels = [digit.label or "?" for digit in reading.digits]
        gap = "" if all(len(label) == 1 for label in labels) else " "
        console.print(Text(f"{clean(reading.source)}: {clean(gap.join(labels))}"), soft_wrap=True)
    for digit in reading.digits:
        head = "  " if several else f"{clean(reading.source)}: "
        parts = [] if digit.label else [f"not sure: {' or '.join(clean(name) for name, _ in digit.top[:2])}?"]
        parts += [f"{clean(name)} {share(probability)}" for name, probability in digit.top]
        if digit.none >= 0.005:
            parts.append(f"none of these {share(digit.none)}")
        console.print(Text(head + "  ".join(parts)), soft_wrap=True)
        if pictures:
            console.print(drawn(digit.image) if console.is_terminal else in_letters(digit.image))
    sys.stdout.flush()  # before the next picture, or its error on stderr
    for digit in reading.digits:
        if digit.looks_like > 1:
            note(f"{reading.file} looks like {digit.looks_like} digits, but one was read: {TRY_MANY}")


def share(probability: float) -> str:
    """Return ``probability`` in percent, never as 100 %, because no network is certain."""
    percent = 100 * probability
    if percent >= 99.995:
        return ">99.99 %"
    return "<0.01 %" if 0 < percent < 0.005 else f"{percent:.2f} %"


def drawn(image: np.ndarray) -> Text:
    """Return ``image`` (rows, columns) uint8 as half blocks, two rows of pixels per line of text."""
    image = np.pad(image, ((0, len(image) % 2), (0, 0)))
    text = Text(no_wrap=True)
    for upper, lower in zip(image[::2].tolist(), image[1::2].tolist(), strict=True):
        for above, below in zip(upper, lower, strict=True):
            text.append("▀", f"rgb({above},{above},{above}) on rgb({below},{below},{below})")
        text.append("\n")
    return text


def in_letters(image: np.ndarray) -> Text:
    """Return ``image`` (rows, columns) uint8 as letters, for files and pipes; each letter covers two rows of pixels."""
    rows = image[: len(image) // 2 * 2].reshape(-1, 2, image.shape[1]).mean(axis=1)
    places = (rows * (len(SHADES) - 1) / 255).round().astype(int)
    return Text("\n".join("".join(SHADES[place] for place in row) for row in places.tolist()), no_wrap=True)


def readings_json(readings: Sequence[Reading]) -> str:
    """Return a JSON list: for each picture in turn, one object per digit, or one object with its error.

    ``argument`` is the picture's position on the command line, from 0, since a file may be named twice. ``frames`` is
    1, or null if there are more, which are not counted. ``looks_like`` is more than 1 if several digits seem to stand
    in a row although one was expected. ``label`` is null where the network is not sure; ``top`` names the likeliest.
    """
    found = []
    for place, reading in enumerate(readings):
        if reading.error is not None:
            found.append({"file": reading.file, "argument": place, "error": str(reading.error)})
        for digit in reading.digits:
            found.append(
                {
                    "file": reading.file,
                    "argument": place,
                    "label": digit.label,
                    "probability": digit.top[0][1],
                    "top": [{"label": name, "probability": value} for name, value in digit.top],
                    "none_of_these": digit.none,
                    "looks_like": digit.looks_like,
                    "frames": None if reading.several else 1,
                    "box": dict(zip(("left", "top", "right", "bottom"), digit.box, strict=True)),
                }
            )
    return json.dumps(found)


def scores_json(scores: Scores) -> dict[str, Any]:
    """Return ``scores`` as JSON values. Pictures without an answer count as not right in the accuracy.

    Those of rows of digits count digits, and ``rows`` the pictures.
    """
    answered, right = int(scores.answered.sum()), int(scores.right.sum())
    return {
        "count": len(scores.true),
        "accuracy": right / len(scores.true),
        "answered": answered,
        "accuracy_of_answers": right / answered if answered else None,
        "confidently_wrong": scores.confidently_wrong,
        "calibration_error": scores.calibration_error,
        "classes": list(scores.class_names),
        "confusion": scores.confusion.tolist(),
        "unanswered": np.bincount(scores.true[~scores.answered], minlength=len(scores.class_names)).tolist(),
        "calibration": [vars(part) if part.count else {"count": 0} for part in scores.bins],
        **({"rows": vars(scores.rows) | {"digit_accuracy": scores.rows.digit_accuracy}} if scores.rows else {}),
    }


def main(run: str, data: str) -> None:
    """Print the last screen of the finished run in directory ``run``, trained on the file ``data``.

    A summary that cannot be read is reported; it does not count as a failure, because the run is complete.
    """
    with safe_streams():
        try:
            summary = read_json(Path(run) / "summary.json")
            shown = Ending(summary, hints(run, data, ("report", "predict", "draw")))
        except (OSError, ValueError, AttributeError) as error:  # AttributeError: JSON, but not an object
            note(f"cannot read {run}/summary.json: {reason(error)}")
        else:
            make_console().print(shown, crop=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
