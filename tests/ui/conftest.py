"""What the tests of the displays share."""

import pytest


class Clock:
    """A clock that a test sets; it advances by ``step`` with each look, so that a drawing takes that long."""

    def __init__(self, step=0.0):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.fixture
def clock():
    return Clock()
