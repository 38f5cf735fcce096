"""A run that averages its parameters: the average is measured, chosen and kept, and survives an interruption."""

import numpy as np
import pytest
import sessions

from distlenet.runs.checkpoint_file import read_checkpoint
from distlenet.runs.choice import find_checkpoint

FLAGS = {"batch_size": 64, "shards": 8, "train_sample": 50, "epochs": 3, "average": 0.9, "elastic": 1.0}


@pytest.mark.parametrize("validation", [-1, 0])
def test_the_average_is_kept(digits, tmp_path, validation):
    run, seen = tmp_path / "run", []

    def remember(rank, state, signals):
        seen.append(state.net.theta.copy())

    sessions.train_run(digits, run, act=remember, flags={**FLAGS, "validation": validation}).expect()
    last = read_checkpoint(run / "checkpoints/last.h5")
    mean = seen[0].astype(np.float64)
    for steps, theta in enumerate(seen[1:], start=2):
        mean += max(0.1, 1 / steps) * (theta - mean)
    np.testing.assert_array_equal(last.theta, seen[-1])
    np.testing.assert_allclose(last.averaged, mean, atol=1e-5)
    assert abs(last.averaged - last.theta).max() > 1e-3
    kept = find_checkpoint(run)
    np.testing.assert_array_equal(kept.build_net().theta, kept.averaged)
    if validation:
        np.testing.assert_array_equal(kept.averaged, last.best_theta)


def test_stopped_and_resumed(digits, tmp_path):
    assert sessions.train_run(digits, tmp_path / "whole", flags=FLAGS).code == 0
    run = tmp_path / "run"
    assert sessions.train_run(digits, run, 2, sessions.stop_after(15), flags=FLAGS).code == 130
    assert sessions.train_run(digits, run, 3, resume="auto").code == 0
    assert sessions.results(run) == sessions.results(tmp_path / "whole")
    whole, resumed = (read_checkpoint(folder / "checkpoints/last.h5") for folder in (tmp_path / "whole", run))
    np.testing.assert_array_equal(resumed.averaged, whole.averaged)
