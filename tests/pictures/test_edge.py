"""Ink at the picture's edge is not part of the digit inside; a digit that reaches the edge is read."""

import numpy as np
import pytest

pytest.importorskip("PIL")
from distlenet.errors import PictureError
from distlenet.pictures import Picture, digits_in
from distlenet.pictures.edge import apart, at_edge

PAPER, INK, TABLE = 0.9, 0.2, 0.05
BAR = (slice(80, 220), slice(140, 156))  # a 1


def page() -> np.ndarray:
    grey = np.full((300, 300), PAPER, np.float32)
    grey[BAR] = INK
    return grey


def box(grey: np.ndarray, likely=None) -> tuple[int, int, int, int]:
    [digit] = digits_in(Picture(np.repeat(grey[..., None], 3, axis=2), 1.0), likely=likely)
    return digit.box


def strip(grey: np.ndarray) -> None:
    grey[:, :30] = TABLE


def corner(grey: np.ndarray) -> None:
    grey[np.add.outer(np.arange(300), np.arange(300)) < 90] = TABLE


def binding(grey: np.ndarray) -> None:
    for top in range(5, 290, 25):
        grey[top : top + 12, 12:24] = TABLE


def frame(grey: np.ndarray) -> None:
    grey[4:9], grey[-9:-4], grey[:, 4:9], grey[:, -9:-4] = (TABLE,) * 4


@pytest.mark.parametrize("outside", [strip, corner, binding, frame])
def test_what_lies_at_the_edge_is_left_out(outside):
    grey = page()
    outside(grey)
    left, top, right, bottom = box(grey)
    assert abs(left - 140) <= 2 and abs(top - 80) <= 2 and abs(right - 156) <= 2 and abs(bottom - 220) <= 2


def test_faint_strokes_next_to_a_dark_table():
    grey = page()
    grey[BAR] = 0.8 * PAPER
    strip(grey)
    assert box(grey)[0] == pytest.approx(140, abs=2)


def test_the_network_decides_whether_a_digit_reaches_the_edge():
    grey = np.full((300, 300), PAPER, np.float32)
    grey[:120, 100:116] = grey[140:220, 160:176] = INK  # a broken stroke
    wide = lambda image: np.array([np.ptp(np.flatnonzero(image.max(axis=0) > 99)) > 4, 0.1], float)  # noqa: E731
    assert box(grey, wide)[1] == 0
    assert box(grey, lambda image: 1.1 - wide(image))[1] == pytest.approx(140, abs=2)


def test_a_digit_alone_at_the_edge_is_read():
    grey = np.full((300, 300), PAPER, np.float32)
    grey[:200, 100:116] = INK
    assert box(grey)[1] == 0


def test_an_edge_alone_is_refused():
    grey = np.full((300, 300), PAPER, np.float32)
    strip(grey)
    with pytest.raises(PictureError):
        box(grey)


def test_the_rim_of_covered_ink_is_removed_too():
    ink = np.zeros((200, 200), np.float32)
    ink[:, :9] = 1
    outside = at_edge(ink)
    assert outside is not None and outside[:, :9].all() and not outside[:, 15:].any()
    rest = np.zeros_like(ink)
    rest[50:60, 13:20] = rest[100:160, 100:110] = 1
    kept = apart(rest, outside)
    assert not kept[:, :30].any() and (kept[:, 90:] == rest[:, 90:]).all()
    assert at_edge(rest[:, 60:]) is None
