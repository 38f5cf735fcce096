"""``distlenet predict``: what the digits in pictures are.

distlenet predict photo.jpg scan.png
distlenet predict runs/a photo.jpg
distlenet predict runs/a number.png --many --json
distlenet predict photo.jpg --show
distlenet predict photos/*.jpg --labels labels.csv --out scores
distlenet predict rows/*.png --many --labels numbers.csv
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
    parser.set_defaults(explain_unknown=take_pictures)


def take_pictures(args: argparse.Namespace, unknown: list[str]) -> None:
    """Add pictures named after an option to the others: argparse takes only words that stand together."""
    if any(word.startswith("-") and word != "-" for word in unknown):
        return
    if args.checkpoint == "pretrained" and len(args.images) == 1 and not is_picture(Path(args.images[0])):
        args.checkpoint = args.images.pop()
    args.images += map(path, unknown)
    unknown.clear()


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code: that of a picture that could not be read, if there was one."""
    from distlenet.errors import PictureError, UsageError
    from distlenet.pictures import digits_in, read_picture
    from distlenet.reader import Reader
    from distlenet.runs.choice import find_checkpoint
    from distlenet.scores import read_labels
    from distlenet.ui.results import Prediction, Reading, readings_json, show_reading

    if args.out and not args.labels:
        raise UsageError("--out is given without --labels, which the page needs")
    checkpoint, images = args.checkpoint, args.images
    if checkpoint != "pretrained" and is_picture(Path(checkpoint)):
        checkpoint, images = "pretrained", [checkpoint, *images]
    reader = Reader(find_checkpoint(checkpoint, trust=make_trust(args, args.model)))
    names = [str(file) for file in images]
    true = read_labels(args.labels, names, reader.class_names, args.many) if args.labels else []
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
        show_scores(score(readings, true, reader.class_names, args.many), readings, args)
    elif args.json:
        print(readings_json(readings))
    return PictureError.exit_code if any(reading.error for reading in readings) else 0


def score(
    readings: "Sequence[Reading]", true: Sequence[Sequence[int]], class_names: tuple[str, ...], many: bool
) -> "Scores | None":
    """Return how well the pictures were read; ``true``: the positions of the classes of each.

    Files that could not be opened are left out: they say nothing about the network. None: no picture is left.
    """
    from distlenet.scores import score_pictures

    opened = [place for place, reading in enumerate(readings) if not is_missing(reading)]
    places = {name: place for place, name in enumerate(class_names)} | {None: -1}
    found = [[(places[digit.label], digit.ranking[0][1]) for digit in readings[place].digits] for place in opened]
    return score_pictures(class_names, [true[place] for place in opened], found, many) if opened else None


def is_missing(reading: "Reading") -> bool:
    """Whether there was no file to read."""
    return reading.error is not None and isinstance(reading.error.__cause__, OSError)


def show_scores(scores: "Scores | None", readings: "Sequence[Reading]", args: argparse.Namespace) -> None:
    """Print ``scores`` as tables, or as one JSON object with the readings; write the page if requested."""
    from distlenet.ui.console import make_console
    from distlenet.ui.results import readings_json, scores_json
    from distlenet.ui.tables import scores_table

    if args.json:
        figures = scores_json(scores) if scores else None
        print(json.dumps({"readings": json.loads(readings_json(readings)), "scores": figures}))
    elif scores:
        make_console().print("", scores_table(scores))
    missing = sum(map(is_missing, readings))
    if missing:
        note(f"the scores leave out {missing} of {len(readings)} files, which could not be opened")
    if args.out and scores:
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
