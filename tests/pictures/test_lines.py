"""Lines on the paper are removed, strokes that cross them are kept."""

import numpy as np
import pytest

from distlenet.pictures.lines import without_lines


def lined(lean: float, squared: bool, bend: float = 0.0) -> np.ndarray:
    ink = np.zeros((240, 200), np.float32)
    for across in range(20, 240, 40):
        for column in range(200):
            ink[round(across + lean * column + bend * np.sin(column * np.pi / 200)), column] = 0.6
    if squared:
        for down in range(10, 190, 30):
            for row in range(240):
                ink[row, round(down + lean * row)] = 0.6
    return ink


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize(("lean", "bend"), [(0.0, 0), (0.03, 0), (0.02, 7)])
def test_only_the_lines_are_removed(lean, bend, squared):
    stroke = np.zeros((240, 200), np.float32)
    stroke[50:190, 90:104] = stroke[110:124, 60:150] = 1  # a cross
    left = without_lines(np.maximum(stroke, lined(lean, squared, bend)))
    assert (left[stroke == 1] > 0.5).mean() > 0.97
    assert (left[stroke == 0] > 0.5).mean() < 0.005
    assert (without_lines(lined(lean, squared, bend)) > 0.5).sum() < 20


def test_a_single_straight_stroke_is_kept():
    ink = np.zeros((240, 200), np.float32)
    ink[200:203, 20:180] = ink[60:200, 90:93] = 1  # the base and the stem of a digit
    assert (without_lines(ink) == ink).all()
