"""A run may start from the parameters of a checkpoint, and no longer needs it afterwards."""

import shutil

import numpy as np

from distlenet.errors import CheckpointError
from distlenet.runs.checkpoint_file import read_checkpoint


def test_it_starts_from_the_parameters_of_a_checkpoint(trained, digits, distlenet, tmp_path):
    start = shutil.copy(trained / "checkpoints/last.h5", tmp_path / "start.h5")
    words = ["train", "--data", digits, "--run", tmp_path / "run", "--display", "quiet"]
    distlenet(*words, "--init", start, "--epochs", 1, "--lr", 0).expect()
    started = read_checkpoint(tmp_path / "run/checkpoints/last.h5")
    np.testing.assert_array_equal(started.theta, read_checkpoint(start).theta)
    start.unlink()
    distlenet(*words, "--resume", "--epochs", 2, "--override", "epochs").expect()
    assert read_checkpoint(tmp_path / "run/checkpoints/last.h5").progress.epoch == 2


def test_one_of_another_network_is_refused(trained, digits, distlenet, only_sentence, tmp_path):
    words = ["train", "--data", digits, "--run", tmp_path / "run", "--model", "single-conv"]
    done = distlenet(*words, "--init", trained / "checkpoints/last.h5")
    only_sentence(done, CheckpointError.exit_code, "--init", "another network's")
