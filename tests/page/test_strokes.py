"""Drawings are checked, and read alike wherever they lie and however large they are."""

import numpy as np
import pytest

pytest.importorskip("flask", reason="the drawing page needs distlenet[draw]")
from pens import drawing, strokes_of
from werkzeug.exceptions import BadRequest

from distlenet.errors import PictureError
from distlenet.page.strokes import BEYOND, MOST_POINTS, ink_of, read_drawing
from distlenet.pictures import digits_in_ink
from distlenet.pictures.box import stroke_width

BAR = [0.5, 0.2, 0.5, 0.8]


def image_of(strokes, width=0.06):
    return digits_in_ink(ink_of(read_drawing(drawing(strokes, width))))[0].image


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"strokes": []},
        {"width": 0.1},
        {"strokes": [], "width": 0.1, "more": 1},
        {"strokes": {}, "width": 0.1},
        {"strokes": [{}], "width": 0.1},
        {"strokes": [[]], "width": 0.1},
        {"strokes": [[0.5]], "width": 0.1},
        {"strokes": [[0.5, 0.5, 0.5]], "width": 0.1},
        {"strokes": [[0.5, "0.5"]], "width": 0.1},
        {"strokes": [[0.5, None]], "width": 0.1},
        {"strokes": [[0.5, True]], "width": 0.1},
        {"strokes": [[0.5, [0.5]]], "width": 0.1},
        {"strokes": [[0.5, float("nan")]], "width": 0.1},
        {"strokes": [[0.5, float("inf")]], "width": 0.1},
        {"strokes": [[0.5, 10**400]], "width": 0.1},
        {"strokes": [[0.5, 1.01 + BEYOND]], "width": 0.1},
        {"strokes": [[0.5, -0.01 - BEYOND]], "width": 0.1},
        {"strokes": [BAR], "width": 0},
        {"strokes": [BAR], "width": -1},
        {"strokes": [BAR], "width": 5},
        {"strokes": [BAR], "width": "thick"},
        {"strokes": [BAR], "width": float("nan")},
        {"strokes": [[0.5, 0.5] * (MOST_POINTS + 1)], "width": 0.1},
    ],
)
def test_anything_but_a_drawing_is_refused(data):
    with pytest.raises(BadRequest) as refused:
        read_drawing(data)
    assert refused.value.description.endswith(".")


@pytest.mark.parametrize(
    ("strokes", "word"), [([], "nothing"), ([[[0.5, 0.5]]], "dot"), ([[[0.5, 0.5], [0.505, 0.5]]], "dot")]
)
def test_a_blank_canvas_and_a_dot_get_a_sentence(strokes, word):
    with pytest.raises(PictureError, match=word):
        image_of(strokes)


def test_size_and_place_do_not_matter():
    for digit in range(10):
        usual = image_of(strokes_of(digit)).astype(int)
        for size, place in ((0.02, (0.97, 0.03)), (0.1, (0.1, 0.9)), (1.0, (0.5, 0.5)), (2.5, (0.5, 0.5))):
            other = image_of(strokes_of(digit, size, place), width=0.1 * size)
            assert np.abs(other - usual).max() <= 3, (digit, size)


@pytest.mark.parametrize("width", [0.005, 0.06, 0.5])
def test_the_pen_is_as_wide_as_those_of_mnist(width):
    for digit in (0, 1, 8):
        assert 1.5 < stroke_width(image_of(strokes_of(digit), width) / 255) < 4.2


def test_a_fast_pen_leaves_no_gaps():
    one = image_of([[[0.5, 0.1], [0.5, 0.9]]])
    assert (one.max(axis=1) > 200).sum() >= 18


def test_a_stroke_is_inked_between_its_points_only():
    """Two strokes are not joined by a line, and their order does not matter."""
    apart = [[[0.4, 0.2], [0.4, 0.8]], [[0.6, 0.2], [0.6, 0.8]]]
    image = image_of(apart)
    assert image[14, 14] == 0
    np.testing.assert_array_equal(image, image_of(apart[::-1]))


def test_ink_is_bounded_however_long_the_drawing():
    rng = np.random.default_rng(1)
    ink = ink_of(read_drawing(drawing([rng.random((MOST_POINTS, 2))])))
    assert max(ink.shape) < 80
    assert ink.dtype == np.float32
    assert 0 <= ink.min() <= ink.max() <= 1


def test_images_of_other_shapes():
    strokes = read_drawing(drawing(strokes_of(3)))
    assert digits_in_ink(ink_of(strokes), (20, 30))[0].image.shape == (20, 30)
