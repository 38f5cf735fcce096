"""Portable order, augmentation and initial weights: the numbers of the specification, the same on every machine."""

import math
import sys

import mpi_jobs
import numpy as np
import pytest
import unlike

from distlenet.arithmetic import NATIVE, PORTABLE
from distlenet.arithmetic.draws import Draws
from distlenet.arithmetic.functions import cos, exp, sin
from distlenet.config import Config
from distlenet.data.augmentation import Augmentation, Resampler, build_augmentation
from distlenet.data.plan import Plan
from distlenet.errors import ConfigError
from distlenet.nn.initialization import METHODS, initialize
from distlenet.nn.layer import Parameter
from distlenet.trust import Trust

F = np.float32
SEED, EPOCH, STEP = 5, 2, 3


def words(purpose: int, *counter: int) -> list[int]:
    """Return the first words of a stream."""
    return Draws([SEED, purpose], [0, *counter]).words(6000).tolist()


def uniform(word: int) -> float:
    return (word >> 11) / 2**53


def sorted_by(keys: list[int]) -> list[int]:
    return sorted(range(len(keys)), key=lambda place: (keys[place], place))


def test_the_order_of_a_shard():
    plan, stream = Plan(1203, 3, 3 * 100, SEED, block=64, arithmetic=PORTABLE), words(1, EPOCH, 1, 0)
    blocks, used, expected = sorted_by(stream[:7]), 7, []  # the shard has rows 401 to 801: 7 blocks of 64, one short
    for block in blocks:
        rows = list(range(64 * block, min(64 * block + 64, 401)))
        expected += [rows[place] for place in sorted_by(stream[used : used + len(rows)])]
        used += len(rows)
    assert plan.blocks(EPOCH, 1) == blocks
    assert np.concatenate([plan.rows(EPOCH, step, 1) for step in range(5)]).tolist() == expected


@pytest.mark.parametrize("elastic", [0.0, 1.5])
def test_an_augmented_pixel(elastic):
    rows, columns, mean, std, images = 5, 7, 0.13, 0.31, 3
    ranges = Augmentation(30.0, 2.0, 0.15, elastic, arithmetic=PORTABLE)
    pictures = np.random.default_rng(1).integers(0, 256, (images, rows, columns), np.uint8)
    resampler = Resampler(rows, columns, mean, std, PORTABLE)
    noise = ranges.noise(SEED, EPOCH, STEP, 4)
    found = resampler.warp(pictures, ranges.maps(noise[1 : 1 + images], rows, columns))[0]

    per_image, stream = (54 if elastic else 4), words(2, EPOCH, STEP, 0)
    scale, offset = F(1 / (255 * std)), F(mean / std)
    for i in range(images):
        turn, down, right, zoom, *moves = [2 * uniform(stream[(i + 1) * per_image + j]) - 1 for j in range(per_image)]
        angle, size = 30.0 * (math.pi / 180) * turn, 1 / (1 + 0.15 * zoom)
        a, b = F(size * float(cos(angle))), F(size * float(sin(angle)))
        m = [
            [a, b, F(1 + (rows - 1) / 2 - 2.0 * down)],
            [F(-(size * float(sin(angle)))), a, F(1 + (columns - 1) / 2 - 2.0 * right)],
        ]
        if elastic:
            spread = elastic * math.sqrt(3)
            m = [m[0] + [F(spread * move) for move in moves[:25]], m[1] + [F(spread * move) for move in moves[25:]]]
        framed = np.zeros((rows + 3, columns + 3), F)
        framed[1:-2, 1:-2] = pictures[i]
        for row in range(rows):
            for column in range(columns):
                fields = [F(row - (rows - 1) / 2), F(column - (columns - 1) / 2), F(1)]
                fields += bumps_at(row, column, rows, columns) if elastic else []
                place = []
                for terms, side in zip(m, (rows, columns), strict=True):
                    at = fields[0] * terms[0]
                    for field, term in zip(fields[1:], terms[1:], strict=True):
                        at = at + field * term
                    place.append(min(max(at, F(0)), F(side + 1.5)))
                (top, left), (y, x) = [int(at) for at in place], [at - F(int(at)) for at in place]
                near = framed[top : top + 2, left : left + 2]
                above, below = near[:, 0] + (near[:, 1] - near[:, 0]) * x
                pixel = above + (below - above) * y
                assert found[row, column, i] == pixel * scale - offset


def bumps_at(row: int, column: int, rows: int, columns: int) -> list[np.float32]:
    """Return the 25 fields of the distortion at a position."""
    down, right = (
        [float(exp(-0.5 * ((place * 4 / (side - 1) - k) * (place * 4 / (side - 1) - k)))) for k in range(5)]
        for place, side in ((row, rows), (column, columns))
    )
    fields, total = [d * r for d in down for r in right], 0.0
    for field in fields:
        total += field * field
    return [F(field / math.sqrt(total)) for field in fields]


@pytest.mark.parametrize("method", METHODS)
def test_initial_weights(method):
    parameter, stream = Parameter("W", (7, 9), 20, 30), words(0, 4, 0, 0)
    parameter.value = np.zeros((7, 9), F)
    initialize(parameter, method, SEED, 4, 0.3, PORTABLE)
    if method in ("he", "normal"):
        deviation = math.sqrt(2 / 20) if method == "he" else 0.3
        expected = deviation * Draws([SEED, 0], [0, 4, 0, 0]).standard_normal(63)
    else:
        limit = math.sqrt(6 / 50) if method == "glorot" else 2.4 / 20
        expected = np.array([-limit + (limit - -limit) * uniform(word) for word in stream[:63]])
    np.testing.assert_array_equal(parameter.value.ravel(), expected.astype(F))


def test_native_and_portable_augmentation_agree_within_rounding():
    pictures, ranges = np.random.default_rng(2).integers(0, 256, (4, 28, 28), np.uint8), (12.0, 2.0, 0.15, 1.0)
    found = []
    for arithmetic in (NATIVE, PORTABLE):
        augmentation = Augmentation(*ranges, arithmetic=arithmetic)
        maps = augmentation.maps(augmentation.noise(SEED, EPOCH, STEP, 4), 28, 28)
        found.append(Resampler(28, 28, 0.13, 0.31, arithmetic).warp(pictures, maps).copy())
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=2e-4)


def test_your_own_augmentation_draws_portably(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "def shift(images, random):\n    return images + random.integers(0, 9, (len(images), 1, 1)).astype('uint8')\n"
        "def fog(images, random):\n    return images + random.gamma(2.0, images.shape).astype('uint8')\n"
    )

    def build(name):
        config = Config(augmentation=f"mine.py:{name}", numerics="portable")
        return build_augmentation(config, 5, 7, Trust(others=(config.augmentation,))).own

    found = build("shift").apply(np.zeros((3, 5, 7), np.uint8), SEED, EPOCH, STEP, 6)
    assert found[:, 0, 0].tolist() == [word % 9 for word in words(3, EPOCH, STEP, 6)[:3]]
    with pytest.raises(ConfigError, match="portable random numbers have no 'gamma': expected one of random, uniform"):
        build("fog")


PROGRAM = """
import hashlib
import numpy as np
from distlenet.arithmetic import PORTABLE
from distlenet.data.augmentation import Augmentation, Resampler
from distlenet.data.plan import Plan
digest = hashlib.sha256()
pictures = np.arange(12 * 784).astype(np.uint8).reshape(12, 28, 28)
for elastic in (0.0, 1.0):
    ranges = Augmentation(12.0, 2.0, 0.15, elastic, arithmetic=PORTABLE)
    maps = ranges.maps(ranges.noise(5, 2, 3, 12), 28, 28)
    digest.update(Resampler(28, 28, 0.1307, 0.3081, PORTABLE).warp(pictures, maps).tobytes())
digest.update(Plan(60_000, 1, 60_000, 5, arithmetic=PORTABLE).rows(1, 0, 0).astype("<i8").tobytes())
print(digest.hexdigest())
"""


@pytest.mark.parametrize("machine", [{}, unlike.OLD_BLAS, unlike.PLAIN_NUMPY], ids=["this", "old BLAS", "plain numpy"])
def test_the_bits_are_the_same_on_every_machine(machine):
    done = mpi_jobs.run([sys.executable, "-c", PROGRAM], env=mpi_jobs.environment(**machine))
    assert done.expect().stdout.split() == [KNOWN]


KNOWN = "1f69c9efd59933a957b47d67969a23e745d0874b10397cea5991712bc83c6f1c"
