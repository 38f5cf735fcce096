"""Drawn digits: the same bits for any range requested and on every machine, and images laid out like MNIST's."""

import hashlib
import sys

import mpi_jobs
import numpy as np
import pytest
import unlike

from distlenet.data.sources.drawing import BLOCK, BOX, draw_digits
from distlenet.errors import ConfigError


@pytest.fixture(scope="module")
def drawn():
    return draw_digits(2000, seed=7)


def test_shapes_dtypes_and_grey_levels(drawn):
    images, labels = drawn
    assert images.shape == (2000, 28, 28) and images.dtype == np.uint8
    assert labels.shape == (2000,) and labels.dtype == np.uint8
    assert images.min() == 0 and images.max() == 255
    assert (images.max(axis=(1, 2)) > 200).all()  # every digit has a dark core
    assert 25 < images.mean() < 42  # MNIST: 33.3
    lit = images[images > 0]
    assert 0.25 < (lit > 250).mean() < 0.55  # MNIST: 0.38; the rest are soft edges


def test_the_pixels_are_the_same_on_every_machine(drawn):
    known = "02fbcb922de6db04"
    assert hashlib.sha256(drawn[0][:1000].tobytes()).hexdigest().startswith(known)
    program = (
        "import hashlib; from distlenet.data.sources.drawing import draw_digits; "
        "print(hashlib.sha256(draw_digits(1000, seed=7)[0].tobytes()).hexdigest())"
    )
    for older in (unlike.OLD_BLAS, unlike.PLAIN_NUMPY):
        done = mpi_jobs.run([sys.executable, "-c", program], env=mpi_jobs.environment(**older))
        assert done.expect().stdout.startswith(known), older


@pytest.mark.parametrize(
    ("start", "count"), [(0, 1), (3, 5), (BLOCK - 1, 2), (BLOCK, BLOCK), (BLOCK + 17, BLOCK + 100), (1999, 1)]
)
def test_an_image_does_not_depend_on_the_range_requested(drawn, start, count):
    images, labels = draw_digits(count, seed=7, start=start)
    np.testing.assert_array_equal(images, drawn[0][start : start + count])
    np.testing.assert_array_equal(labels, drawn[1][start : start + count])


def test_the_callers_generators_are_not_used(drawn):
    np.random.seed(0)  # noqa: NPY002 - the global generator is the point
    draw_digits(1, seed=7)
    after = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    assert after == np.random.random()  # noqa: NPY002


def test_all_digits_equally_often_in_random_order(drawn):
    _, labels = drawn
    np.testing.assert_array_equal(np.bincount(labels), np.full(10, 200))
    assert len(set(labels[:20].tolist())) > 4
    assert (labels[:BLOCK] != labels[BLOCK : 2 * BLOCK]).any()


def test_seeds_differ(drawn):
    images, labels = draw_digits(BLOCK, seed=8)
    assert (labels != drawn[1][:BLOCK]).any()
    assert not (images == drawn[0][:BLOCK]).all(axis=(1, 2)).any()


def test_no_two_images_are_equal(drawn):
    images, _ = drawn
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_digits_fill_the_box_and_are_centred_by_mass(drawn):
    images, _ = drawn
    ink = images > 0
    width, height = ink.any(axis=1), ink.any(axis=2)
    size = np.maximum(*(28 - axis.argmax(axis=1) - axis[:, ::-1].argmax(axis=1) for axis in (width, height)))
    assert size.max() <= BOX + 1
    assert (size == BOX).mean() > 0.95
    mass = images / images.sum(axis=(1, 2), keepdims=True)
    for axis in (1, 2):
        centre = mass.sum(axis=axis) @ np.arange(28)
        assert np.abs(centre - 14).max() < 1.5
        assert (np.abs(centre - 14) < 0.51).mean() > 0.99


def test_writing_varies_within_a_digit(drawn):
    images, labels = drawn
    for digit in range(10):
        ink = images[labels == digit].mean(axis=(1, 2))
        assert ink.std() > 0.15 * ink.mean()  # thin and thick pens
        assert (images[labels == digit].std(axis=0) > 60).sum() > 60  # many pixels differ between hands


def test_simple_digits_are_recognisable(drawn):
    images, labels = drawn
    train, test = images[:1500].reshape(1500, -1) / 255, images[1500:].reshape(500, -1) / 255
    distance = (train**2).sum(axis=1) - 2 * test @ train.T
    assert (labels[:1500][distance.argmin(axis=1)] == labels[1500:]).mean() > 0.8  # the nearest neighbour


def test_zero_digits():
    images, labels = draw_digits(0, seed=1, start=123)
    assert images.shape == (0, 28, 28) and images.dtype == np.uint8
    assert labels.shape == (0,) and labels.dtype == np.uint8


@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_every_64_bit_seed(seed):
    assert draw_digits(3, seed=seed)[0].any()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((-1, 0, 0), "count"), ((1, -1, 0), "seed"), ((1, 2**64, 0), "seed"), ((1, 0, -5), "start")],
)
def test_arguments_out_of_range(arguments, name):
    with pytest.raises(ConfigError, match=f"{name} is .*expected 0 to"):
        draw_digits(*arguments)
