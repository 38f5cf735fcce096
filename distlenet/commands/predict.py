"""``distlenet predict``: what the digits in pictures are.

distlenet predict photo.jpg scan.png
distlenet predict runs/a photo.jpg
distlenet predict runs/a number.png --many --json
distlenet predict photo.jpg --show
"""

import argparse
import sys
from functools import cache
from io import BytesIO
from pathlib import Path

from distlenet.commands.options import add_checkpoint, add_json, add_trust, make_trust
from distlenet.paths import path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_checkpoint(parser, default="pretrained")
    parser.add_argument(
        "images", nargs="+", type=path, metavar="IMAGE", help="picture of a digit, of any format and size"
    )
    parser.add_argument("--many", action="store_true", help="several digits in a picture, read line by line")
    parser.add_argument("--show", action="store_true", help="draw the network's input")
    add_trust(parser)
    add_json(parser, "print one JSON list: an object for each digit or error")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code: that of a picture that could not be read, if there was one."""
    from distlenet.errors import PictureError
    from distlenet.pictures import digits_in, read_picture
    from distlenet.reader import Reader
    from distlenet.runs.choice import find_checkpoint
    from distlenet.ui.results import Prediction, Reading, readings_json, show_reading

    checkpoint, images = args.checkpoint, args.images
    if checkpoint != "pretrained" and is_picture(Path(checkpoint)):
        checkpoint, images = "pretrained", [checkpoint, *images]
    reader = Reader(find_checkpoint(checkpoint, trust=make_trust(args, args.model)))
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
    if args.json:
        print(readings_json(readings))
    return PictureError.exit_code if any(reading.error for reading in readings) else 0


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
