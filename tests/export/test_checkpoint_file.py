"""A small checkpoint reads digits like the one it was made of, and nothing can be resumed from it."""

import json

import numpy as np
import pytest

from distlenet.config import Config
from distlenet.data.slices import DatasetFacts
from distlenet.errors import CheckpointError
from distlenet.runs.checkpoint_file import read_checkpoint, write_checkpoint
from distlenet.runs.experiment import make_state


def test_small_and_complete(tmp_path, distlenet):
    config, facts = Config(), DatasetFacts("drawn", "", (28, 28), tuple("0123456789"), 0.1307, 0.3081)
    state = make_state(config, facts)
    write_checkpoint(tmp_path / "last.h5", state, config, facts)
    distlenet("export", tmp_path / "last.h5", "--to", tmp_path / "small.h5").expect()
    small = read_checkpoint(tmp_path / "small.h5")
    assert np.array_equal(small.build_net().theta, state.net.theta)
    assert (small.dataset, small.config) == (facts, config)
    assert (tmp_path / "small.h5").stat().st_size < 4 * state.net.size + 8192
    inspected = distlenet("inspect", tmp_path / "small.h5", "--json").expect()
    assert json.loads(inspected.stdout)["theta_sha256"] == state.theta_sha256()
    with pytest.raises(CheckpointError, match="another model or optimizer"):
        small.restore(state)
