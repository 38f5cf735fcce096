"""Accuracy, confusion and calibration of labelled pictures."""

import numpy as np
import pytest

from distlenet.scores import Scores


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
