"""``distlenet predict``: what the digits in pictures are.

distlenet predict photo.jpg scan.png
distlenet predict runs/a photo.jpg
distlenet predict runs/a number.png --many --json
distlenet predict photo.jpg --show
"""

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "checkpoint",
        nargs="?",
        help="checkpoint file, or run directory (default: the network that is part of the package)",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture of a digit, of any format and size")
    parser.add_argument("--many", action="store_true", help="several digits in a picture, read line by line")
    parser.add_argument("--show", action="store_true", help="draw what the network saw")
    parser.add_argument("--json", action="store_true", help="print one JSON list: an object for each digit or error")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code: that of a picture that could not be read, if there was one."""
    from distlenet.errors import PictureError, report
    from distlenet.pictures import Recognizer, digits_in, read_picture
    from distlenet.training.rundir import find_checkpoint
    from distlenet.ui.prediction_view import Prediction, show, to_json

    checkpoint, images = args.checkpoint or "pretrained", args.images
    if args.checkpoint and is_picture(Path(args.checkpoint)):
        checkpoint, images = "pretrained", [args.checkpoint, *images]
    recognizer = Recognizer(find_checkpoint(checkpoint))
    answers: list[Prediction | tuple[str, PictureError]] = []
    for file in images:
        try:
            picture = read_picture(file)
            for digit in digits_in(picture, recognizer.image_shape, many=args.many, likely=recognizer.probabilities):
                top = recognizer.best(digit.image)
                answers.append(Prediction(file, top, digit.box, digit.image, picture.frames))
        except PictureError as error:
            answers.append((file, error))
    errors = [answer for answer in answers if isinstance(answer, tuple)]
    if args.json:
        print(to_json(answers))
    else:
        show([answer for answer in answers if isinstance(answer, Prediction)], pictures=args.show)
        for file, error in errors:
            report(error if file in str(error) else PictureError(f"{file}: {error}"))
    return PictureError.exit_code if errors else 0


def is_picture(path: Path) -> bool:
    """Whether ``path`` is a file, but no checkpoint: those are HDF5."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) != b"\x89HDF"
