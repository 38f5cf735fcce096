"""Corrupted images: the same for every way of reading them, and each kind does what it says."""

import numpy as np
import pytest

from distlenet.data.corruptions import CORRUPTIONS, corrupt
from distlenet.data.sources.drawing import draw_digits


@pytest.fixture(scope="module")
def images():
    return draw_digits(130, seed=3)[0]


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_an_image_depends_on_its_row_alone(kind, images):
    changed = corrupt(kind, images)
    assert changed.shape == images.shape and changed.dtype == np.uint8
    assert (changed != images).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(corrupt(kind, images[95:110], 95), changed[95:110])
    twice = corrupt(kind, images[[5, 5]])  # the same image in two rows
    regular = kind in ("scale", "brightness", "stripe", "canny edges")
    assert regular == (twice[0] == twice[1]).all() or kind in ("shear", "rotate", "translate")


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_images_that_are_not_square(kind):
    assert corrupt(kind, np.full((2, 12, 20), 99, np.uint8)).shape == (2, 12, 20)


def test_noise_has_its_strength():
    ink = np.full((100, 28, 28), 255, np.uint8)
    assert np.mean(corrupt("impulse noise", ink) == 0) == pytest.approx(0.085, abs=0.005)
    photons = np.full((100, 28, 28), 102, np.uint8)  # 0.4 of full ink: 2 photons
    counts = corrupt("shot noise", photons) / 51  # up to the 5 of full ink
    for count, share in enumerate((0.135, 0.271, 0.271, 0.180)):
        assert np.mean(counts == count) == pytest.approx(share, abs=0.01)


def test_geometry():
    dot = np.zeros((20, 28, 28), np.uint8)
    dot[:, 10:12, 17:19] = 255  # 3 pixels up, 4 to the right of the centre

    def check(kind, *expected):
        changed, place = corrupt(kind, dot).astype(float), np.arange(28) - 13.5
        weights = changed / changed.sum(axis=(1, 2), keepdims=True)
        centres = np.stack([weights.sum(axis=2) @ place, weights.sum(axis=1) @ place], axis=1)
        away = np.abs(centres[:, None] - np.array(expected)).max(axis=2) < 0.1
        assert away.any(axis=1).all() and away.any(axis=0).all()

    check("translate", (-7, 0), (-7, 8), (1, 0), (1, 8))
    check("scale", (-1.8, 2.4))
    check("shear", (-3, 2.5), (-3, 5.5))
    check("rotate", (-4.6, 1.96), (-0.6, 4.96))


def test_edges_are_outlines():
    square = np.zeros((1, 28, 28), np.uint8)
    square[:, 8:20, 8:20] = 255
    edges = corrupt("canny edges", square)[0] > 0
    assert not edges[11:17, 11:17].any() and not edges[:5].any()
    assert edges[14].sum() == edges[:, 14].sum() == 2
    assert not corrupt("canny edges", np.full((1, 28, 28), 255, np.uint8))[0, 3:-3, 3:-3].any()
