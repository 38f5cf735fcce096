"""Accuracy, confusion and calibration of labelled pictures."""

import numpy as np
import pytest

from distlenet.scores import Rows, Scores, align, score_pictures


def test_figures_of_known_answers():
    true = np.array([0, 0, 1, 1, 2, 2])
    predicted = np.array([0, 1, 1, 1, -1, 0])
    scores = Scores(("a", "b", "c"), true, predicted, np.array([1.0, 0.95, 0.85, 0.65, 0.0, 0.62]))
    assert scores.right.tolist() == [True, False, True, True, False, False]
    assert scores.confidently_wrong == 1
    np.testing.assert_array_equal(scores.confusion, [[1, 1, 0], [0, 2, 0], [1, 0, 0]])
    assert [part.count for part in scores.bins] == [0, 0, 0, 0, 0, 0, 2, 0, 1, 2]
    assert scores.bins[9].confidence == pytest.approx(0.975) and scores.bins[9].accuracy == 0.5
    gaps = 2 * abs(0.635 - 0.5) + 1 * abs(0.85 - 1) + 2 * abs(0.975 - 0.5)
    assert scores.calibration_error == pytest.approx(gaps / 5)


def test_no_answer_at_all():
    scores = Scores(("a", "b"), np.array([1]), np.array([-1]), np.array([0.0]))
    assert scores.calibration_error == 0 and scores.confusion.sum() == 0


@pytest.mark.parametrize(
    ("true", "found", "pairs"),
    [
        ([2, 7, 1, 8], [2, 7, 1, 8], [(0, 0), (1, 1), (2, 2), (3, 3)]),
        ([2, 7, 1, 8], [2, 1, 8], [(0, 0), (1, None), (2, 1), (3, 2)]),
        ([2, 7], [9, 2, 7, 7], [(None, 0), (0, 1), (None, 2), (1, 3)]),
        ([4], [-1], [(0, 0)]),
        ([4, 4], [], [(0, None), (1, None)]),
    ],
)
def test_digits_are_matched_with_the_fewest_edits(true, found, pairs):
    assert align(true, found) == pairs


def test_rows():
    names = tuple("0123456789")
    true = [[2, 7, 1, 8], [3, 1], [5]]
    found = [[(2, 0.9), (7, 0.9), (1, 0.9), (8, 0.9)], [(7, 0.95), (3, 0.6), (-1, 0.4)], []]
    scores = score_pictures(names, true, found, many=True)
    assert scores.rows == Rows(count=3, right=1, digits=7, edits=3)
    assert scores.rows.digit_accuracy == pytest.approx(1 - 3 / 7)
    assert scores.predicted.tolist() == [2, 7, 1, 8, 3, -1, -1]
    one = score_pictures(names, [[1], [2]], [[(1, 0.9)], []])
    assert one.rows is None and one.right.tolist() == [True, False] and one.confidence.tolist() == [0.9, 0]
