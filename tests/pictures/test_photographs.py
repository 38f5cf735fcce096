"""The pictures like photographs are the same each time, and the packaged network reads the easy ones."""

import numpy as np
import pytest

pytest.importorskip("PIL")
from photographs import ROWS, SINGLE, readings

from distlenet.reader import Reader
from distlenet.runs.choice import find_checkpoint


@pytest.mark.parametrize("name", ["squared, joined", "unusual forms", "row: table boxes"])
def test_a_seed_gives_one_picture(name):
    draw = {**SINGLE, **ROWS}[name]
    first, again, other = (draw(np.random.default_rng(seed)) for seed in (2, 2, 4))
    assert first == again and first[0] != other[0]
    assert first[1].isdecimal()


def test_easy_photographs_are_read():
    reader = Reader(find_checkpoint("pretrained"))
    read = readings(SINGLE["plain"], range(0, 8, 2), False, reader)
    read += readings(SINGLE["coloured ink"], range(8, 14, 2), False, reader)
    assert sum(found == text for text, found, _ in read) >= 6, read
