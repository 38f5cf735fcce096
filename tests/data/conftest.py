"""Fixtures shared by the tests of the sources."""

import pytest


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without MNIST in any usual place: an empty home, ``tmp_path``/home, and no environment variables."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("DISTLENET_MNIST", "XDG_CACHE_HOME", "KERAS_HOME"):
        monkeypatch.delenv(variable, raising=False)
