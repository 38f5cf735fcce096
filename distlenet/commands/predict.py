"""``distlenet predict``: what the digits in pictures are.

distlenet predict photo.jpg scan.png
distlenet predict runs/a photo.jpg
distlenet predict runs/a number.png --many --json
distlenet predict photo.jpg --show
distlenet predict photos/*.jpg --labels labels.csv --out scores
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from distlenet.commands.options import add_checkpoint, add_json, add_trust, make_trust
from distlenet.paths import as_path, path
from distlenet.streams import note

if TYPE_CHECKING:
    from distlenet.scores import Scores
    from distlenet.ui.results import Reading


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_checkpoint(parser, default="pretrained")
    parser.add_argument(
        "images", nargs="+", type=path, metavar="IMAGE", help="picture of a digit, of any format and size"
    )
    parser.add_argument("--many", action="store_true", help="several digits in a picture, read line by line")
    parser.add_argument("--show", action="store_true", help="draw the network's input")
    parser.add_argument(
        "--labels", type=as_path, metavar="CSV", help="file with lines FILE,LABEL: also print how well they were read"
    )
    parser.add_argument(
        "--out", type=as_path, metavar="DIR", help="with --labels: directory for a page of accuracy and calibration"
    )
    add_trust(parser)
    add_json(parser, "print one JSON list: an object for each digit or error")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code: that of a picture that could not be read, if there was one."""
    from distlenet.errors import PictureError, UsageError
    from distlenet.pictures import digits_in, read_picture
    from distlenet.reader import Reader
    from distlenet.runs.choice import find_checkpoint
    from distlenet.scores import read_labels
    from distlenet.ui.results import Prediction, Reading, readings_json, show_reading

    if args.labels and args.many:
        raise UsageError("--labels takes pictures of one digit: leave out --many")
    if args.out and not args.labels:
        raise UsageError("--out is given without --labels, which the page needs")
    checkpoint, images = args.checkpoint, args.images
    if checkpoint != "pretrained" and is_picture(Path(checkpoint)):
        checkpoint, images = "pretrained", [checkpoint, *images]
    reader = Reader(find_checkpoint(checkpoint, trust=make_trust(args, args.model)))
    true = read_labels(args.labels, [str(file) for file in images], reader.class_names) if args.labels else []
    readings: list[Reading] = []
    for file in images:
        try:
            picture = read_picture(BytesIO(standard_input()) if file == "-" else file)
            digits = digits_in(picture, reader.image_shape, many=args.many, likely=reader.probabilities)
            found = [
                Prediction(reader.best(digit.image, None), digit.box, digit.image, digit.looks_like) for digit in digits
            ]
            readings.append(Reading(file, found, picture.several))
        except PictureError as error:
            readings.append(Reading(file, error=error))
        if not args.json:
            show_reading(readings[-1], pictures=args.show)
    if args.labels:
        show_scores(score(readings, true, reader.class_names), readings, args)
    elif args.json:
        print(readings_json(readings))
    return PictureError.exit_code if any(reading.error for reading in readings) else 0


def score(readings: "Sequence[Reading]", true: Sequence[int], class_names: tuple[str, ...]) -> "Scores":
    """Return how well the pictures were read; ``true``: the position of the class of each."""
    import numpy as np

    from distlenet.scores import Scores

    labels = [reading.digits[0].label if reading.digits else None for reading in readings]
    predicted = [-1 if label is None else class_names.index(label) for label in labels]
    confidence = [reading.digits[0].ranking[0][1] if reading.digits else 0.0 for reading in readings]
    return Scores(class_names, np.array(true), np.array(predicted), np.array(confidence))


def show_scores(scores: "Scores", readings: "Sequence[Reading]", args: argparse.Namespace) -> None:
    """Print ``scores`` as tables, or as one JSON object with the readings; write the page if requested."""
    from distlenet.ui.console import make_console
    from distlenet.ui.results import readings_json, scores_json
    from distlenet.ui.tables import scores_table

    if args.json:
        print(json.dumps({"readings": json.loads(readings_json(readings)), "scores": scores_json(scores)}))
    else:
        make_console().print("", scores_table(scores))
    if args.out:
        from distlenet.report.scores import write_score_page

        note(f"wrote {write_score_page(args.out, scores, str(args.labels)).page}")


@cache
def standard_input() -> bytes:
    """Return the picture on standard input; it can be read once only."""
    from distlenet.data.sources.picture import MOST_BYTES

    return sys.stdin.buffer.read(MOST_BYTES + 1)


def is_picture(path: Path) -> bool:
    """Whether ``path`` is a file or pipe, but no checkpoint: those are HDF5. A missing one is judged by its name."""
    if str(path) == "-" or path.is_fifo():
        return True
    if not path.exists():
        return path.suffix not in ("", ".h5")
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) != b"\x89HDF"
