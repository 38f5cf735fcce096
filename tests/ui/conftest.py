"""Fixtures of the display tests."""

import pytest


class Clock:
    """A clock that a test sets. It advances by ``step`` at each reading, so that a drawing takes that long."""

    def __init__(self, step=0.0):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.fixture
def clock():
    return Clock()
