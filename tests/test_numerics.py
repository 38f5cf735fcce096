"""The BLAS that numpy has loaded: found, set to one thread and given back."""

import pytest

from distlenet.numerics import find_blas, numerics, one_thread


@pytest.fixture
def blas(monkeypatch):
    found = find_blas()
    if found is None:
        pytest.skip("numpy's BLAS is none whose threads can be set")
    monkeypatch.delenv(found.variable, raising=False)
    before = found.get_threads()
    found.set_threads(2)
    if found.get_threads() != 2:
        pytest.skip("this BLAS has one thread only")
    yield found
    found.set_threads(before)


def test_the_blas_runs_one_thread_and_then_as_many_as_before(blas):
    assert numerics()["threads"] == 2
    with one_thread():
        assert numerics()["threads"] == 1
        with one_thread():
            pass
        assert numerics()["threads"] == 1, "given back while it is still needed"
    assert numerics()["threads"] == 2


def test_a_number_in_the_environment_wins(blas, monkeypatch):
    monkeypatch.setenv(blas.variable, "2")
    with one_thread():
        assert numerics()["threads"] == 2
