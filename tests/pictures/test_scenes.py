"""Digits under the conditions of real life are recognised; a network is trained on drawn digits for it."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("PIL")
import scenes
from PIL import Image

from distlenet.data.digitfile import write_digit_file
from distlenet.data.drawing import draw_digits
from distlenet.pictures import Picture, Recognizer, digits_in, read_picture
from distlenet.training.rundir import find_checkpoint

COUNT = 12  # pictures of each condition
DIGITS, LABELS = draw_digits(60, seed=77)


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory, distlenet):
    folder = tmp_path_factory.mktemp("reader")
    names = list("0123456789")
    train, test = draw_digits(8000, seed=3), draw_digits(500, seed=4)
    write_digit_file(folder / "d.h5", train=train, test=test, name="drawn", class_names=names, source="test")
    arguments = ["--data", folder / "d.h5", "--run", folder / "run", "--epochs", 4, "--batch-size", 64]
    done = distlenet("train", *arguments, "--display", "quiet")
    assert done.returncode == 0, done.output
    return Recognizer(find_checkpoint(folder / "run"))


def seen(image: Image.Image, kind: str = "PNG", **options) -> np.ndarray:
    """Return what the network would see of ``image`` after it was saved and read again."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return digits_in(read_picture(file))[0].image


def share_right(recognizer, images, labels):
    return np.mean(
        [recognizer.probabilities(image).argmax() == label for image, label in zip(images, labels, strict=True)]
    )


def test_the_network_knows_drawn_digits(recognizer):
    assert share_right(recognizer, DIGITS, LABELS) >= 0.85


@pytest.mark.parametrize("name", scenes.SCENES)
def test_scene(name, recognizer):
    kind = "JPEG" if name.startswith("photo") else "PNG"
    images = [
        seen(scenes.SCENES[name](DIGITS[i], int(LABELS[i]), np.random.default_rng([i, 5])), kind) for i in range(COUNT)
    ]
    assert share_right(recognizer, images, LABELS[:COUNT]) >= 0.65


def test_normalised_digits_stay_as_they_are():
    changes = []
    for digit in DIGITS:
        again = digits_in(Picture(np.repeat(digit[..., None] / np.float32(255), 3, axis=2), 1.0))[0].image
        changes.append(np.abs(again.astype(int) - digit).mean())
    assert np.mean(changes) < 20  # of 255 grey levels: unusually thin and thick strokes are mended


def test_photographs_are_turned_upright():
    cover = scenes.enlarged(DIGITS[0], 10)
    upright = scenes.picture(scenes.painted(np.pad(cover, 60)))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it turned by a quarter, clockwise
    turned = seen(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    assert np.abs(turned.astype(int) - seen(upright, "JPEG", quality=95)).mean() < 4


def test_other_sizes_for_the_network():
    picture = scenes.picture(scenes.painted(np.pad(scenes.enlarged(DIGITS[0], 8), 50)))
    file = io.BytesIO()
    picture.save(file, "PNG")
    for shape in ((32, 32), (20, 28), (56, 56)):
        image = digits_in(read_picture(file), shape)[0].image
        assert image.shape == shape and image.dtype == np.uint8 and image.max() > 200
        assert not image[0].any() and not image[:, 0].any()


def test_many_digits_are_read_from_left_to_right(recognizer):
    rng = np.random.default_rng(3)
    line = np.zeros((300, 1700))
    for place in range(8):
        cover = scenes.enlarged(DIGITS[place], 8)
        top = int(rng.integers(40, 90))
        line[top : top + cover.shape[0], 40 + 200 * place : 40 + 200 * place + cover.shape[1]] = cover
    file = io.BytesIO()
    scenes.picture(scenes.painted(line)).save(file, "PNG")
    digits = digits_in(read_picture(file), many=True)
    assert len(digits) == 8
    lefts = [digit.box[0] for digit in digits]
    assert all(abs(left - (40 + 200 * place)) < 16 for place, left in enumerate(lefts))
    assert share_right(recognizer, [digit.image for digit in digits], LABELS[:8]) >= 0.6


def test_the_bar_of_a_five_belongs_to_it():
    two = np.zeros((200, 300))
    two[40:160, 40:60] = 1  # a stroke
    two[60:160, 180:200] = two[100:110, 180:230] = 1  # another, ...
    two[40:50, 185:235] = 1  # ... and its bar, not quite in touch
    file = io.BytesIO()
    scenes.picture(scenes.painted(two)).save(file, "PNG")
    assert [digit.box for digit in digits_in(read_picture(file), many=True)] == [(40, 40, 60, 160), (180, 40, 235, 160)]


def test_probabilities(recognizer):
    likely = recognizer.probabilities(DIGITS[0])
    assert likely.shape == (10,) and likely.sum() == pytest.approx(1)
    best = recognizer.best(DIGITS[0])
    assert [p for _, p in best] == sorted(likely, reverse=True)[:3]
    assert best[0][0] == recognizer.class_names[likely.argmax()]


def test_threads_share_a_recognizer(recognizer):
    alone = [recognizer.probabilities(digit) for digit in DIGITS]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(recognizer.probabilities, [*DIGITS, *DIGITS]))
    assert all((one == other).all() for one, other in zip(alone * 2, together, strict=True))
