"""Digits are recognised under real-life conditions, by a network trained on drawn digits for these tests."""

import io
from concurrent.futures import ThreadPoolExecutor

import drawn
import numpy as np
import pytest

pytest.importorskip("PIL")
import scenes
from inks import enlarged
from PIL import Image
from rows import ROWS

from distlenet.data.sources.drawing import draw_digits
from distlenet.errors import PictureError
from distlenet.pictures import Picture, digits_in, read_picture
from distlenet.reader import Reader
from distlenet.runs.choice import find_checkpoint

COUNT = 6  # pictures of each condition
DIGITS, LABELS = draw_digits(60, seed=77)


@pytest.fixture(scope="module")
def reader(tmp_path_factory, distlenet):
    folder = tmp_path_factory.mktemp("reader")
    names = list("0123456789")
    train, test = draw_digits(8000, seed=3), draw_digits(500, seed=4)
    drawn.write(folder / "d.h5", train, test, names)
    arguments = ["--data", folder / "d.h5", "--run", folder / "run", "--epochs", 4, "--batch-size", 64]
    distlenet("train", *arguments, "--display", "quiet").expect()
    return Reader(find_checkpoint(folder / "run"))


def seen(file: bytes, likely=None) -> np.ndarray:
    """Return the network's input for the one digit in a picture file."""
    return digits_in(read_picture(io.BytesIO(file)), likely=likely)[0].image


def share_right(reader, images, labels):
    return np.mean([reader.probabilities(image).argmax() == label for image, label in zip(images, labels, strict=True)])


def test_the_network_knows_drawn_digits(reader):
    assert share_right(reader, DIGITS, LABELS) >= 0.85


@pytest.mark.parametrize("name", scenes.SCENES)
def test_scene(name, reader):
    count = 3 if "4000" in name else COUNT
    files = [scenes.SCENES[name](DIGITS[i], int(LABELS[i]), np.random.default_rng([i, 5])) for i in range(count)]
    images = [seen(file, reader.probabilities) for file in files]
    assert share_right(reader, images, LABELS[:count]) >= 0.65


@pytest.mark.parametrize("name", scenes.BLANKS)
def test_blank_paper_gives_one_sentence(name):
    guesses = 0
    for i in range(COUNT):
        try:
            seen(scenes.BLANKS[name](DIGITS[0], 0, np.random.default_rng([i, 5])))
            guesses += 1
        except PictureError as error:
            assert "blank" in str(error) or "no digit" in str(error)
    assert guesses <= 1


@pytest.mark.parametrize("name", [name for name in ROWS if "touch" not in name])
def test_rows_are_cut_into_their_digits(name):
    right = 0
    for i in range(COUNT):
        file, text = ROWS[name](DIGITS[i : i + 16], LABELS[i : i + 16], np.random.default_rng([i, 5]))
        right += len(digits_in(read_picture(io.BytesIO(file)), many=True)) == len(text)
    assert right >= 0.75 * COUNT


def test_digits_that_touch_are_separated_by_the_network(reader):
    alone = parted = 0
    for i in range(COUNT):
        file, _ = ROWS["row: two that touch"](DIGITS[i : i + 16], LABELS[i : i + 16], np.random.default_rng([i, 5]))
        picture = read_picture(io.BytesIO(file))
        alone += len(digits_in(picture, many=True)) == 1
        parts = digits_in(picture, many=True, likely=reader.probabilities)
        parted += len(parts) == 2 and parts[0].box[0] < parts[1].box[0]
    assert alone >= 0.75 * COUNT  # they do touch
    assert parted >= 0.5 * COUNT


def test_normalised_digits_are_unchanged():
    changes = []
    for digit in DIGITS:
        again = digits_in(Picture(np.repeat(digit[..., None] / np.float32(255), 3, axis=2), 1.0))[0].image
        changes.append(np.abs(again.astype(int) - digit).mean())
    assert np.mean(changes) < 20  # of 255 grey levels: unusually thin and thick strokes are corrected


def test_photographs_are_turned_upright():
    upright = scenes.picture(scenes.painted(np.pad(enlarged(DIGITS[0], 10), 60)))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was rotated: show the picture rotated by a quarter turn, clockwise
    turned = seen(scenes.saved(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95))
    assert np.abs(turned.astype(int) - seen(scenes.saved(upright, "JPEG", quality=95))).mean() < 4


def test_other_sizes_for_the_network():
    file = scenes.saved(scenes.picture(scenes.painted(np.pad(enlarged(DIGITS[0], 8), 50))))
    for shape in ((32, 32), (20, 28), (56, 56)):
        image = digits_in(read_picture(io.BytesIO(file)), shape)[0].image
        assert image.shape == shape and image.dtype == np.uint8 and image.max() > 200
        assert not image[0].any() and not image[:, 0].any()


def test_many_digits_are_read_from_left_to_right(reader):
    rng = np.random.default_rng(3)
    line = np.zeros((300, 1700))
    for place in range(8):
        cover = enlarged(DIGITS[place], 8)
        top = int(rng.integers(40, 90))
        line[top : top + cover.shape[0], 40 + 200 * place : 40 + 200 * place + cover.shape[1]] = cover
    digits = digits_in(read_picture(io.BytesIO(scenes.saved(scenes.picture(scenes.painted(line))))), many=True)
    assert len(digits) == 8
    lefts = [digit.box[0] for digit in digits]
    assert all(abs(left - (40 + 200 * place)) < 20 for place, left in enumerate(lefts))
    assert share_right(reader, [digit.image for digit in digits], LABELS[:8]) >= 0.6


def test_two_lines_are_read_from_the_top():
    page = np.zeros((400, 500))
    for top, left in ((40, 60), (60, 200), (50, 340), (240, 70), (220, 210)):
        page[top : top + 100, left : left + 12] = 1  # five strokes: three above two
    digits = digits_in(read_picture(io.BytesIO(scenes.saved(scenes.picture(scenes.painted(page))))), many=True)
    assert [digit.box[0] for digit in digits] == [60, 200, 340, 70, 210]


def test_the_bar_of_a_five_belongs_to_it():
    two = np.zeros((200, 300))
    two[40:160, 40:60] = 1  # a stroke
    two[60:160, 180:200] = two[100:110, 180:230] = 1  # another, ...
    two[40:50, 185:235] = 1  # ... and its bar, not quite touching it
    file = scenes.saved(scenes.picture(scenes.painted(two)))
    digits = digits_in(read_picture(io.BytesIO(file)), many=True)
    assert [digit.box for digit in digits] == [(40, 40, 60, 160), (180, 40, 235, 160)]


def test_a_small_digit_in_a_large_picture_gets_a_closer_look():
    colours = np.full((2400, 3200, 3), 235, np.uint8)
    cover = enlarged(DIGITS[1], 2)
    colours[1900 : 1900 + cover.shape[0], 300 : 300 + cover.shape[1]] = scenes.painted(cover, paper=(235,) * 3)
    [digit] = digits_in(read_picture(io.BytesIO(scenes.saved(Image.fromarray(colours)))))
    rows, columns = (np.flatnonzero((cover > 0.5).any(axis=axis)) for axis in (1, 0))
    ours = np.array(digit.box)
    assert np.abs(ours - (300 + columns[0], 1900 + rows[0], 301 + columns[-1], 1901 + rows[-1])).max() <= 4


def test_small_digits_of_a_row_are_cut_out_of_the_fine_picture():
    colours = np.full((2400, 3200, 3), 235, np.uint8)
    cover = enlarged(DIGITS[1], 2)
    for left in (300, 345, 390):  # gaps of a working pixel or less
        colours[1900 : 1900 + cover.shape[0], left : left + cover.shape[1]] = scenes.painted(cover, paper=(235,) * 3)
    digits = digits_in(read_picture(io.BytesIO(scenes.saved(Image.fromarray(colours)))), many=True)
    rows, columns = (np.flatnonzero((cover > 0.5).any(axis=axis)) for axis in (1, 0))
    boxes = np.array([digit.box for digit in digits])
    assert np.abs(boxes[:, [1, 3]] - (1900 + rows[0], 1901 + rows[-1])).max() <= 4
    assert boxes[:, 0] == pytest.approx([left + columns[0] for left in (300, 345, 390)], abs=4)


def test_probabilities(reader):
    likely = reader.probabilities(DIGITS[0])
    assert likely.shape == (10,) and likely.sum() == pytest.approx(1)
    best = reader.best(DIGITS[0])
    assert [p for _, p in best] == sorted(likely, reverse=True)[:3]
    assert best[0][0] == reader.class_names[likely.argmax()]


def test_threads_share_a_reader(reader):
    alone = [reader.probabilities(digit) for digit in DIGITS]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(reader.probabilities, [*DIGITS, *DIGITS]))
    assert all((one == other).all() for one, other in zip(alone * 2, together, strict=True))
