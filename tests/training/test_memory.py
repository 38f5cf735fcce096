"""Memory: once warm, a training step takes next to none anew."""

import tracemalloc

import pytest

from distlenet.bench.workload import Workload
from distlenet.config import Config
from distlenet.parallel import Serial

ROOM = 64 * 1024  # bytes
EPOCH = 4096 // 256  # steps, of whole leaves
WARM = 400  # steps: what is remembered of the last 200 is full, the images are learned, a state to go back to is there


@pytest.mark.parametrize("settings", [{}, {"rotate": 0.0, "shift": 0.0, "zoom": 0.0}], ids=["augmented", "plain"])
def test_a_hundred_steps_take_no_more_memory(settings):
    running = Workload(Serial(), Config(**settings), images=EPOCH * 256).steps()
    tracemalloc.start()
    try:
        for _ in range(WARM):
            next(running)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(100):
            next(running)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < ROOM
