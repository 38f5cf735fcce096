"""The properties of MNIST that the normalisation reproduces, checked on its images if they are available."""

import numpy as np
import pytest
from drawn import MNIST, needs_mnist

from distlenet.data.sources.idx import read_idx
from distlenet.pictures import Picture, digits_in
from distlenet.pictures.box import BOX, THICK, THIN, extent, stroke_width

pytestmark = needs_mnist


@pytest.fixture(scope="module")
def images():
    [path] = MNIST.glob("train-images*")
    return read_idx(path)[:2000]


def test_digits_fill_a_box_of_20_pixels(images):
    sides = [max(np.ptp(part) + 1 for part in np.nonzero(image)) for image in images]
    assert max(sides) == 20 and np.mean(np.equal(sides, 20)) > 0.99
    halves = [max(high - low for low, high in (extent(image.max(axis=k) / 255) for k in (0, 1))) for image in images]
    assert np.mean(halves) == pytest.approx(BOX, abs=0.05)


def test_the_centre_of_mass_is_pixel_14_to_the_nearest_pixel(images):
    for image in images.astype(float):
        for axis in (0, 1):
            profile = image.sum(axis=axis)
            assert abs(profile @ np.arange(28) / profile.sum() - 14) <= 0.501


def test_the_widths_of_strokes(images):
    widths = [stroke_width(image / 255) for image in images]
    assert np.percentile(widths, [5, 95]) == pytest.approx([THIN, THICK], abs=0.15)


def test_normalising_keeps_the_digits(images):
    changes = []
    for image in images[:200]:
        again = digits_in(Picture(np.repeat(image[..., None] / np.float32(255), 3, axis=2), 1.0))[0].image
        changes.append(np.abs(again.astype(int) - image).mean())
    assert np.median(changes) < 5  # of 255 grey levels
