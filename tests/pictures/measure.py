"""Accuracy by condition: python tests/pictures/measure.py runs/a [--count 300] [--seed 1] [--split test] [WORD ...].

Real MNIST digits are the ink, those of --split from row --first on; a scene is measured if a WORD is in its name.
Parameters were tuned on digits 55,000 to 59,999 of the training split, on which the network is not trained, and on
seeds below 100. Published figures are measured on the test split with seeds from 100.
"""

import argparse
import io
import time
from collections.abc import Iterator

import numpy as np
from rows import ROWS
from scenes import BLANKS, SCENES

from distlenet.data.file.dataset_file import open_digit_file
from distlenet.errors import PictureError
from distlenet.pictures import digits_in, read_picture
from distlenet.reader import Reader
from distlenet.runs.choice import find_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", default="train")
    parser.add_argument("--first", type=int, default=55_000)
    parser.add_argument("--data", default="datasets/mnist.h5")
    args = parser.parse_intermixed_args()
    reader = Reader(find_checkpoint(args.run))
    images, labels = open_digit_file(args.data).read(args.split, args.first, args.first + 5000)
    for name, right, refused, milliseconds in measured(reader, images, labels, args):
        print(f"{name:30} {right:7.2%}  refused {refused:7.2%}  {milliseconds:4.0f} ms", flush=True)


def measured(
    reader: Reader, images: np.ndarray, labels: np.ndarray, args: argparse.Namespace
) -> Iterator[tuple[str, float, float, float]]:
    """Yield for each scene its name, the shares of right and refused pictures, and the median time per picture."""
    scenes = {**SCENES, **BLANKS, **ROWS}
    for name, draw in scenes.items():
        if args.words and not any(word in name for word in args.words):
            continue
        right, refused, seconds = 0, 0, []
        for number in range(args.count):
            rng = np.random.default_rng([number, args.seed])
            if name in ROWS:
                rows = rng.integers(len(images), size=16)
                file, expected = draw(images[rows], labels[rows], rng)
            else:
                file = draw(images[number], int(labels[number]), rng)
                expected = "" if name in BLANKS else str(labels[number])
            start = time.perf_counter()
            try:
                digits = digits_in(
                    read_picture(io.BytesIO(file)),
                    reader.image_shape,
                    many=name in ROWS,
                    likely=reader.probabilities,
                )
                right += "".join(reader.best(digit.image)[0][0] for digit in digits) == expected
            except PictureError:
                refused += 1
            seconds.append(time.perf_counter() - start)
        share = refused if name in BLANKS else right
        yield name, share / args.count, refused / args.count, 1e3 * float(np.median(seconds))


if __name__ == "__main__":
    main()
