import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distlenet.data.augmentation import BEFORE, KNOTS, Augmentation, Resampler, bumps

QUICK = settings(derandomize=True, deadline=None, max_examples=60)
RAW = (0.0, 1 / 255)  # mean and standard deviation that leave pixels unchanged
ANGLE, DOWN, RIGHT, ZOOM = range(4)


def draw(n, rows=28, columns=28, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, rows, columns), dtype=np.uint8)


def noise_of(n, **values):
    """Return noise (n, 4), zero except in the named columns."""
    noise = np.zeros((n, 4))
    for name, value in values.items():
        noise[:, globals()[name.upper()]] = value
    return noise


def warp(pictures, augmentation, noise, normalization=RAW):
    """Return the warped pictures (N, rows, columns)."""
    resampler = Resampler(*pictures.shape[1:], *normalization)
    out = resampler.warp(pictures, augmentation.maps(noise, *pictures.shape[1:]))
    assert out.shape == (1, *pictures.shape[1:], len(pictures)) and out.dtype == np.float32
    return np.moveaxis(out[0], -1, 0).copy()


def slow_warp(pictures, maps):
    """Return the expected result of ``Resampler.warp``, in float64, pixel by pixel, with background 0 outside."""
    n, rows, columns = pictures.shape
    fields = bumps(rows, columns)
    out = np.zeros(pictures.shape)

    def pixel(sample, row, column):
        inside = 0 <= row < rows and 0 <= column < columns
        return float(pictures[sample, row, column]) if inside else 0.0

    for sample in range(n):
        for row in range(rows):
            for column in range(columns):
                affine = [row - (rows - 1) / 2, column - (columns - 1) / 2, 1]
                place = np.array([*affine, *fields[row * columns + column]][: maps.shape[1]])
                down, right = maps[:, :, sample].astype(np.float64) @ place - BEFORE
                top, left = int(np.floor(down)), int(np.floor(right))
                down, right = down - top, right - left
                out[sample, row, column] = (
                    (1 - down) * (1 - right) * pixel(sample, top, left)
                    + (1 - down) * right * pixel(sample, top, left + 1)
                    + down * (1 - right) * pixel(sample, top + 1, left)
                    + down * right * pixel(sample, top + 1, left + 1)
                )
    return out


@pytest.mark.parametrize("shape", [(28, 28), (5, 9), (1, 1)])
@pytest.mark.parametrize("n", [0, 1, 3, 32])
def test_normalize_is_the_formula(shape, n):
    pictures = draw(n, *shape)
    found = Resampler(*shape, 0.13, 0.31).normalize(pictures)
    assert found.shape == (1, *shape, n) and found.dtype == np.float32
    np.testing.assert_allclose(found[0], (np.moveaxis(pictures, 0, -1) / 255 - 0.13) / 0.31, rtol=0, atol=2e-6)


@pytest.mark.parametrize("shape", [(28, 28), (5, 9), (1, 1)])
def test_identity_has_the_bits_of_normalization(shape):
    pictures, resampler = draw(7, *shape), Resampler(*shape, 0.13, 0.31)
    maps = Augmentation(rotate=12, shift=2, zoom=0.15).maps(noise_of(7), *shape)
    expected = resampler.normalize(pictures).copy()
    np.testing.assert_array_equal(resampler.warp(pictures, maps), expected)


@pytest.mark.parametrize("down", [-4, -1, 0, 3])
@pytest.mark.parametrize("right", [-3, 0, 2, 4])
def test_shifts_by_whole_pixels_are_exact(down, right):
    pictures = draw(3, 9, 12)
    expected = np.zeros((3, 9 + 8, 12 + 8))
    expected[:, 4 + down : 4 + down + 9, 4 + right : 4 + right + 12] = pictures
    found = warp(pictures, Augmentation(shift=4), noise_of(3, down=down / 4, right=right / 4))
    np.testing.assert_array_equal(found, expected[:, 4:-4, 4:-4])


def test_half_a_pixel_is_the_mean_of_two():
    pictures = draw(2, 5, 6)
    found = warp(pictures, Augmentation(shift=1), noise_of(2, right=0.5))
    before = np.pad(pictures, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]  # the left neighbour, background at the edge
    np.testing.assert_array_equal(found, (pictures.astype(float) + before) / 2)


@pytest.mark.parametrize("size", [6, 7, 28])
@pytest.mark.parametrize("quarters", [-1, 1, 2])
def test_quarter_turns_equal_rot90(size, quarters):
    # a positive angle turns counterclockwise, as in numpy
    pictures = draw(3, size, size)
    found = warp(pictures, Augmentation(rotate=180), noise_of(3, angle=quarters / 2))
    np.testing.assert_allclose(found, np.rot90(pictures, quarters, axes=(1, 2)), rtol=0, atol=0.01)


def test_zoom_of_two_doubles_the_distances():
    pictures = draw(2, 9, 9)
    found = warp(pictures, Augmentation(zoom=1), noise_of(2, zoom=1))
    np.testing.assert_array_equal(found[:, ::2, ::2], pictures[:, 2:7, 2:7])
    np.testing.assert_array_equal(
        found[:, 1::2, ::2], (pictures[:, 2:6, 2:7].astype(float) + pictures[:, 3:7, 2:7]) / 2
    )


def test_zoom_of_one_half_shows_background_around():
    pictures = np.full((2, 9, 9), 200, np.uint8)
    found = warp(pictures, Augmentation(zoom=0.5), noise_of(2, zoom=-1))
    np.testing.assert_array_equal(found[:, 2:7, 2:7], 200)
    assert not found[:, [0, 1, 7, 8]].any() and not found[:, :, [0, 1, 7, 8]].any()


@QUICK
@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 12),
    n=st.sampled_from([1, 3]),
    rotate=st.sampled_from([0.0, 12.0, 180.0]),
    shift=st.sampled_from([0.0, 2.0, 20.0]),
    zoom=st.sampled_from([0.0, 0.15, 0.9]),
    seed=st.integers(0, 999),
)
def test_equals_slow_bilinear_resampling(rows, columns, n, rotate, shift, zoom, seed):
    pictures, augmentation = draw(n, rows, columns, seed), Augmentation(rotate, shift, zoom)
    noise = augmentation.noise(seed, 1, 2, n)
    found = warp(pictures, augmentation, noise)
    expected = slow_warp(pictures, augmentation.maps(noise, rows, columns))
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.02)  # of 255: positions are float32
    assert found.min() >= -1e-3 and (found.max(axis=(1, 2)) <= pictures.max(axis=(1, 2)) + 1e-3).all()


@pytest.mark.parametrize("normalization", [RAW, (0.13, 0.31)])
@pytest.mark.parametrize("shift", [31.0, 1e3, 1e9, 1e30])
@pytest.mark.parametrize("side", [-1, 1])
def test_far_outside_is_background(shift, side, normalization):
    pictures = np.full((4, 28, 28), 255, np.uint8)
    background = Resampler(28, 28, *normalization).normalize(np.zeros_like(pictures))[0, 0, 0, 0]
    for noise in (noise_of(4, down=side), noise_of(4, right=side), noise_of(4, down=side, right=-side)):
        found = warp(pictures, Augmentation(shift=shift), noise, normalization)
        np.testing.assert_array_equal(found, background)


def test_extreme_maps_stay_finite_and_within_range():
    augmentation = Augmentation(rotate=180, shift=50, zoom=0.9)
    corners = np.array(np.meshgrid(*[[-1, -0.5, 0, 0.999]] * 4)).reshape(4, -1).T
    pictures = draw(len(corners))
    found = warp(pictures, augmentation, corners)
    assert np.isfinite(found).all() and found.min() >= -1e-3 and found.max() <= 255.001


def test_a_frame_of_background_surrounds_every_picture():
    # pixels of the neighbouring pictures in memory must not appear
    pictures = np.full((5, 6, 6), 255, np.uint8)
    pictures[2] = 0
    augmentation = Augmentation(rotate=45, shift=8, zoom=0.5)
    noise = np.random.default_rng(0).uniform(-1, 1, (200, 4))
    for start in range(0, 200, 5):
        assert not warp(pictures, augmentation, noise[start : start + 5])[2].any()


def test_more_pixels_than_float32_can_count():
    # the frames of a leaf have more pixels than 2^24
    pictures = np.zeros((1_100_000, 1, 1), np.uint8)
    pictures[:, 0, 0] = np.arange(len(pictures)) % 251
    np.testing.assert_array_equal(warp(pictures, Augmentation(shift=1), noise_of(len(pictures))), pictures)


def test_a_picture_hardly_depends_on_the_others_of_its_leaf():
    augmentation, pictures = Augmentation(rotate=12, shift=2, zoom=0.15), draw(32)
    noise = augmentation.noise(1, 2, 3, 32)
    whole = warp(pictures, augmentation, noise, (0.0, 1.0))
    for cut in (np.s_[:1], np.s_[5:16], np.s_[20:]):
        np.testing.assert_allclose(
            warp(pictures[cut], augmentation, noise[cut], (0.0, 1.0)), whole[cut], rtol=0, atol=1e-5
        )
    others = draw(32, seed=9)
    others[7] = pictures[7]  # among the same number of pictures, the result is equal to the last bit
    np.testing.assert_array_equal(warp(others, augmentation, noise, (0.0, 1.0))[7], whole[7])


def test_alternating_sizes_leave_no_trace():
    augmentation, resampler = Augmentation(rotate=12, shift=2, zoom=0.15), Resampler(28, 28, 0.13, 0.31)
    for n in [32, 11, 32, 1, 11]:
        pictures, noise = draw(n, seed=n), augmentation.noise(1, 0, 0, n)
        expected = warp(pictures, augmentation, noise, (0.13, 0.31))
        kept, maps = pictures.copy(), augmentation.maps(noise, 28, 28)
        kept_maps = maps.copy()
        np.testing.assert_array_equal(np.moveaxis(resampler.warp(pictures, maps)[0], -1, 0), expected)
        resampler.normalize(draw(n, seed=99))  # writes to the same buffer
        np.testing.assert_array_equal(np.moveaxis(resampler.warp(pictures, maps)[0], -1, 0), expected)
        np.testing.assert_array_equal(pictures, kept)
        np.testing.assert_array_equal(maps, kept_maps)


def test_noise_is_uniform_and_depends_only_on_its_position():
    augmentation = Augmentation(rotate=12)
    noise = augmentation.noise(1, 2, 3, 4000)
    assert noise.shape == (4000, 4) and noise.min() >= -1 and noise.max() < 1
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=4 * 0.58 / 63)
    np.testing.assert_allclose(noise.std(axis=0), 3**-0.5, rtol=0.04)
    np.testing.assert_allclose(np.corrcoef(noise.T), np.eye(4), atol=0.07)
    np.testing.assert_array_equal(Augmentation(zoom=0.5).noise(1, 2, 3, 4000), noise)  # ranges only scale it
    np.testing.assert_array_equal(augmentation.noise(1, 2, 3, 256), noise[:256])
    for other in [(0, 2, 3), (1, 3, 3), (1, 2, 4), (1, 3, 2)]:
        assert abs(augmentation.noise(*other, 4000) - noise).mean() > 0.5


def test_ranges_are_kept():
    augmentation = Augmentation(rotate=10, shift=3, zoom=0.2)
    (a, b, down), (c, d, right) = augmentation.maps(augmentation.noise(0, 0, 0, 2000), 28, 20)
    np.testing.assert_array_equal(a, d)
    np.testing.assert_array_equal(b, -c)
    assert abs(np.rad2deg(np.arctan2(b, a))).max() == pytest.approx(10, abs=0.1)
    scale = np.hypot(a, b)
    assert 1 / 1.2 <= scale.min() * 1.00001 < 0.84 and 1.23 < scale.max() * 0.99999 <= 1 / 0.8
    assert abs(down - BEFORE - 13.5).max() == pytest.approx(3, abs=0.02)
    assert abs(right - BEFORE - 9.5).max() == pytest.approx(3, abs=0.02)


@pytest.mark.parametrize("shape", [(28, 28), (9, 14), (1, 3)])
def test_distortion_is_smooth_and_has_the_requested_strength_everywhere(shape):
    augmentation = Augmentation(elastic=1.5)
    noise = augmentation.noise(1, 2, 3, 4000)
    assert noise.shape == (4000, 4 + 2 * KNOTS**2)
    maps = augmentation.maps(noise, *shape)
    moves = np.einsum("pk,dkn->dpn", bumps(*shape), maps[:, 3:]).reshape(2, *shape, 4000)
    np.testing.assert_allclose(moves.std(axis=-1), 1.5, rtol=0.05)
    np.testing.assert_allclose(moves.mean(axis=-1), 0, atol=0.1)
    down, right = moves.reshape(2, -1)
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.05
    if shape == (28, 28):  # knots are 6.75 pixels apart: neighbours move alike, the corners do not
        assert np.diff(moves, axis=1).std() < 0.3
        assert abs(np.corrcoef(moves[0, 0, 0], moves[0, -1, -1])[0, 1]) < 0.06


@pytest.mark.parametrize("shape", [(28, 28), (5, 9)])
def test_distortion_is_the_formula(shape):
    augmentation, pictures = Augmentation(rotate=12, shift=1, zoom=0.1, elastic=1.2), draw(3, *shape)
    noise = augmentation.noise(5, 0, 0, 3)
    expected = slow_warp(pictures, augmentation.maps(noise, *shape))
    np.testing.assert_allclose(warp(pictures, augmentation, noise), expected, atol=0.05)


def test_description():
    assert str(Augmentation()) == "none"
    assert str(Augmentation(12, 2, 0.15)) == "rotation 12 degrees, shift 2 px, zoom 15 %"
    assert str(Augmentation(elastic=1.2)).endswith("zoom 0 %, distortion 1.2 px")


def test_active_unless_all_ranges_are_zero():
    assert not Augmentation().active
    assert Augmentation(rotate=1).active and Augmentation(shift=1).active and Augmentation(zoom=0.1).active
    assert Augmentation(elastic=0.1).active
