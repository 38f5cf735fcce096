"""The ways of writing and the paths generated from them."""

import numpy as np
import pytest

from distlenet.arithmetic.draws import Draws
from distlenet.data.sources.handwriting import POINTS, bank, write_digits
from distlenet.data.sources.shapes import WAYS


def test_every_digit_has_several_ways_or_examples():
    for digit in range(10):
        assert sum(len(way.examples) for way in WAYS if way.digit == digit) >= 4


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.digit}: {way.strokes}")
def test_a_way_uses_all_its_points_and_gives_each_a_position(way):
    named = {int(point) for point in way.strokes.replace("|", " ").split()}
    assert named == set(range(len(named)))
    assert way.share > 0
    for example in way.examples:
        assert len(example.split()) == len(named)
        places = np.array([pair.split(",") for pair in example.split()], dtype=int)  # two whole numbers each
        assert places.min() >= -20 and places.max() <= 150


def test_curves_stay_where_their_control_points_are():
    ways = bank()
    np.testing.assert_allclose(ways.curve.sum(axis=2), 1, atol=1e-5)  # a moved digit is a moved curve
    np.testing.assert_allclose(ways.ends.sum(axis=2), 0, atol=1e-6)  # a direction has no position
    straight = WAYS.index(next(way for way in WAYS if way.strokes == "0 1 2"))
    path = ways.curve[straight] @ ways.examples[straight, 0]
    np.testing.assert_allclose(path[[0, -1]], [[0.5, 0], [0.5, 1]], atol=1e-6)
    np.testing.assert_allclose(path[:, 0], 0.5, atol=1e-6)
    assert (np.diff(path[:, 1]) > 0).all()


def test_the_pen_is_lifted_between_strokes_and_nowhere_else():
    lifted = (1 - bank().joined).sum(axis=1)
    np.testing.assert_array_equal(lifted, [way.strokes.count("|") for way in WAYS])


def test_only_ways_of_the_requested_digit_are_chosen():
    chance = np.diff(bank().chance, axis=1, prepend=0)
    np.testing.assert_array_equal(chance > 0, [[way.digit == digit for way in WAYS] for digit in range(10)])
    np.testing.assert_array_equal(bank().chance[:, -1], 1)


def test_paths_are_finite_and_densely_sampled():
    labels = np.arange(1000) % 10
    points, joined = write_digits(labels, Draws([0, 0], [0, 0, 0, 0]))
    assert points.shape == (1000, POINTS, 2)
    assert joined.shape == (1000, POINTS - 1)
    assert np.isfinite(points).all()
    step = np.linalg.norm(np.diff(points, axis=1), axis=2) * joined
    extent = np.ptp(points, axis=1).max(axis=1)
    assert np.quantile(step.max(axis=1) / extent, 0.99) < 0.15
