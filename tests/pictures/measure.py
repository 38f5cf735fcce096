"""Accuracy by condition on MNIST's test images: python tests/pictures/measure.py runs/a 200 [CONDITION ...]."""

import io
import sys
import time

import numpy as np
import scenes

from distlenet.data.digitfile import open_digit_file
from distlenet.errors import PictureError
from distlenet.pictures import Recognizer, digits_in, read_picture
from distlenet.training.rundir import find_checkpoint


def measure(run: str, count: int, wanted: list[str]) -> None:
    images, labels = open_digit_file("datasets/mnist.h5").read("test", 5000, 5000 + count)
    recognizer = Recognizer(find_checkpoint(run))
    for name, draw in scenes.SCENES.items():
        if wanted and not any(word in name for word in wanted):
            continue
        right, refused, seconds = 0, 0, []
        for number, (digit, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            file = io.BytesIO()
            image = draw(digit, label, np.random.default_rng([number, 7]))
            image.save(file, "JPEG" if name.startswith("photo") else "PNG")
            file.seek(0)
            start = time.perf_counter()
            try:
                seen = digits_in(read_picture(file), recognizer.image_shape)[0].image
                right += recognizer.probabilities(seen).argmax() == label
            except PictureError:
                refused += 1
            seconds.append(time.perf_counter() - start)
        print(f"{name:28} {right / count:7.2%}  refused {refused}  {1e3 * np.median(seconds):.0f} ms", flush=True)


if __name__ == "__main__":
    measure(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
