"""The other name of the drawn digits."""

from distlenet.data import strokes
from distlenet.data.sources import drawing


def test_it_is_the_same_function():
    assert strokes.draw_digits is drawing.draw_digits
