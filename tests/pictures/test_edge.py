"""Ink at the picture's edge is not part of the digit inside; a digit that reaches the edge is read."""

import numpy as np
import pytest

pytest.importorskip("PIL")
from distlenet.errors import PictureError
from distlenet.pictures import Picture, digits_in
from distlenet.pictures.digits import components
from distlenet.pictures.edge import apart, at_edge, without_frames

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


def boxed(tilt: float) -> np.ndarray:
    """Three bars in the boxes of a table; the middle one reaches the line below it."""
    ink = np.zeros((240, 400), np.float32)
    column = np.arange(50, 350)
    for row in (40, 200):
        for thick in range(3):
            ink[np.rint(row + thick + tilt * (column - 50)).astype(int), column] = 1
    for left in (50, 150, 250, 347):
        ink[40 + round(tilt * (left - 50)) : 203 + round(tilt * (left - 50)), left : left + 3] = 1
    for left, bottom in ((95, 180), (195, 200), (295, 180)):
        ink[60 + round(tilt * (left - 50)) : bottom + round(tilt * (left - 50)), left : left + 12] = 1
    return ink


@pytest.mark.parametrize("tilt", [0.0, 0.04, 0.06])
def test_table_boxes_are_removed_and_their_digits_kept(tilt):
    kept = components(without_frames(boxed(tilt)) > 0.4)
    boxes = kept.boxes[kept.areas > 100]
    assert sorted(box[1] for box in boxes) == pytest.approx([95, 195, 295], abs=2)
    assert (np.ptp(boxes[:, [0, 2]], axis=1) > 110).all()


def test_a_round_digit_with_a_dot_inside_has_no_frame():
    y, x = np.indices((200, 200)) - 100
    far = np.hypot(y, x)
    ink = ((far < 80) & (far > 66) | (far < 20)).astype(np.float32)
    assert (without_frames(ink) == ink).all()


def test_a_dark_strip_next_to_a_row_is_left_out_and_a_digit_is_not():
    grey = np.full((160, 400), PAPER, np.float32)
    for left in (60, 130, 200, 270):
        grey[50:110, left : left + 8] = INK
    grey[:20] = TABLE
    digits = digits_in(Picture(np.repeat(grey[..., None], 3, axis=2), 1.0), many=True)
    assert [digit.box[0] for digit in digits] == pytest.approx([60, 130, 200, 270], abs=2)
    grey[60:120, -8:] = INK
    outside = at_edge((grey < 0.5).astype(np.float32), many=True)
    assert outside is not None and outside[:20].all() and not outside[40:].any()


def test_a_soft_shadow_at_the_edge_of_blank_paper_is_refused():
    x = np.arange(300) / 300
    for shadow in (0.3 / (1 + np.exp(40 * (x - 0.2))), 0.5 * (1 - x) ** 2):
        with pytest.raises(PictureError):
            box((PAPER * (1 - shadow) * np.ones((300, 1))).astype(np.float32))
