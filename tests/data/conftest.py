"""What the tests of the sources share."""

import pytest


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine where MNIST is at none of the usual places: an empty home, ``tmp_path``/home, and no variables."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("DISTLENET_MNIST", "XDG_CACHE_HOME", "KERAS_HOME"):
        monkeypatch.delenv(variable, raising=False)
