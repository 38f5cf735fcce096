"""Disturbances: every kind changes images and keeps their range, and the pixels are the same on every machine."""

import hashlib
import sys
from pathlib import Path

import mpi_jobs
import numpy as np
import pytest
import unlike

from distlenet.arithmetic import NATIVE, PORTABLE
from distlenet.data.augmentation import Augmentation, Resampler
from distlenet.data.blemishes import CHANGES, FULL
from distlenet.data.disturbances import KINDS, MOVES, Disturbance
from distlenet.data.sources.drawing import draw_digits

HERE = Path(__file__).resolve().parent
ROWS, COLUMNS, LEAF = 28, 26, 16  # not square: rows are not columns


def disturbed(kind: str, arithmetic=PORTABLE, seed: int = 1) -> np.ndarray:
    """Return a leaf of drawn digits under ``kind``, (ROWS, COLUMNS, LEAF) from 0 to FULL."""
    pictures = draw_digits(LEAF, seed=3)[0][:, :ROWS, :COLUMNS]
    augmentation = Augmentation(rotate=5, disturb=1, arithmetic=arithmetic)
    maps = augmentation.maps(augmentation.noise(seed, 0, 0, LEAF), ROWS, COLUMNS)
    disturbance = Disturbance(1, seed, 0, 0, 0)
    disturbance.kind = kind
    return Resampler(ROWS, COLUMNS, 0, 1 / FULL, arithmetic).warp(pictures, maps, disturbance)[0]


@pytest.mark.parametrize("kind", dict.fromkeys(KINDS))
def test_every_kind_changes_the_images_and_keeps_their_range(kind):
    plain, found = disturbed("none"), disturbed(kind)
    assert found.min() >= 0 and found.max() <= FULL
    changed = (np.abs(found - plain) > 8).any(axis=(0, 1))  # beyond rounding; some severities are close to nothing
    assert changed.sum() >= LEAF // 2
    assert kind in MOVES or (found == np.rint(found)).all()
    np.testing.assert_array_equal(found, disturbed(kind))
    assert (found != disturbed(kind, seed=2)).any()


def test_it_depends_on_seed_and_position_alone():
    kinds = [Disturbance(0.5, 1, 0, step, shard).kind for step in range(200) for shard in range(8)]
    assert set(kinds) == {"none", *KINDS} == {"none", *MOVES, *CHANGES}
    assert 0.45 < kinds.count("none") / len(kinds) < 0.55
    assert {Disturbance(0.0, 1, 0, step, 0).kind for step in range(50)} == {"none"}


def test_moves_keep_what_they_show():
    ink = disturbed("none", NATIVE).sum(axis=(0, 1))
    for kind, least, most in (("rotate", 0.9, 1.1), ("shear", 0.9, 1.1), ("shrink", 0.25, 1.05)):
        share = disturbed(kind, NATIVE).sum(axis=(0, 1)) / ink
        assert least < share.min() and share.max() < most, kind


def test_the_pixels_are_the_same_on_every_machine():
    known = "7514b0bfde4fd8d2"
    program = (
        f"import hashlib, sys; sys.path += {[str(HERE), str(HERE.parent)]}; "
        "from test_disturbances import KINDS, disturbed; "
        "print(hashlib.sha256(b''.join(disturbed(kind).tobytes() for kind in KINDS)).hexdigest())"
    )
    assert hashlib.sha256(b"".join(disturbed(kind).tobytes() for kind in KINDS)).hexdigest().startswith(known)
    for other in (unlike.OLD_BLAS, unlike.PLAIN_NUMPY):
        done = mpi_jobs.run([sys.executable, "-c", program], env=mpi_jobs.environment(**other))
        assert done.expect().stdout.startswith(known), other
