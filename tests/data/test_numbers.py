"""Numbers from a file become pixels and labels unchanged, or are refused: none is silently lost."""

import numpy as np
import pytest

from distlenet.data.sources.numbers import as_pixels, whole_numbers
from distlenet.errors import DataError

LEVELS = np.arange(256).reshape(4, 8, 8)  # every grey level once
BITS = LEVELS % 2


def narrowed(array):
    return as_pixels({"a": np.asarray(array)})["a"]


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "<i8", ">u8", "f2", "f4", ">f8", "g"])
def test_every_grey_level_of_every_type_is_kept(dtype):
    np.testing.assert_array_equal(narrowed(LEVELS.astype(dtype)), LEVELS)
    if np.dtype(dtype).kind == "f":
        np.testing.assert_array_equal(narrowed((LEVELS / 255).astype(dtype)), LEVELS)
    np.testing.assert_array_equal(narrowed(BITS.astype(dtype)), 255 * BITS)


def test_bools_fractions_and_pixels_a_little_out_of_range():
    np.testing.assert_array_equal(narrowed(BITS.astype(bool)), 255 * BITS)
    assert narrowed([[[253.9, 253.4, 0.0, 255.0005]]]).tolist() == [[[254, 253, 0, 255]]]
    assert narrowed([[[-0.0004, 1.0004, 0.5]]]).tolist() == [[[0, 255, 128]]]


@pytest.mark.parametrize("dtype", ["u1", "?", "u2", "f2", "f4", "f8", "i8"])
def test_colours_become_their_luminance_whatever_their_type(dtype):
    grey = BITS if dtype == "?" else LEVELS
    colours = np.repeat(grey.astype(dtype)[..., None], 3, -1)
    np.testing.assert_array_equal(narrowed(colours), 255 * BITS if dtype == "?" else LEVELS)
    red = np.zeros((1, 1, 1, 3), dtype)
    red[..., 0] = 1
    assert narrowed(red).item() == 76  # 0.299 of 255, and not 0


def test_large_arrays_are_processed_in_pieces(monkeypatch):
    monkeypatch.setattr("distlenet.data.sources.numbers.PIECE", 100)
    np.testing.assert_array_equal(narrowed(LEVELS / 255), LEVELS)
    assert narrowed(np.zeros((0, 3, 3))).shape == (0, 3, 3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 1, 2), np.nan), r"holds NaN or infinity \(the first is nan in image 0 at \(0, 0\)\)"),
        ([[[0.0, 1]], [[2, np.inf]]], r"the first is inf in image 1 at \(0, 1\)"),
        ([[[0, 256]]], "values from 0 to 256.*look like 16 bits: divide them by 257"),
        (np.array([[[0, 65535]]], "u2"), "divide them by 257"),
        ([[[0, 2**60]]], "values from 0 to 1.15292e"),
        ([[[-0.42, 2.8]]], "look standardised"),
        ([[[-1.0, 1.0]]], "add 1 and divide by 2"),
        ([[[-128, 127]]], "values from -128 to 127"),
        ([[[0.0, 0.5, 1.02]]], "from 0 to 1.02 with fractions, expected pixels of 0 to 1, or of 0 to 255"),
        ([[[1j]]], "of type complex128"),
        ([[["12"]]], "of type <U2"),
        (np.array([[[None]]]), "of type object"),
        (np.zeros((1, 1, 1), "M8[s]"), "of type datetime64"),
    ],
)
def test_values_that_would_change_are_refused(array, message):
    with pytest.raises(DataError, match=message):
        narrowed(array)


def test_training_and_test_images_have_one_range():
    with pytest.raises(DataError, match="x has pixels of 0 to 1 and t of 0 to 255, expected the same range in both"):
        as_pixels({"x": LEVELS / 255, "t": LEVELS})
    with pytest.raises(DataError, match="same range"):
        as_pixels({"x": LEVELS, "t": BITS})
    dark = as_pixels({"x": LEVELS / 255, "t": LEVELS / 1000})  # one range, determined by both
    assert dark["t"].max() == 65


@pytest.mark.parametrize("dtype", ["?", "u1", "i8", ">u8", "f2", "f8", "g"])
def test_whole_labels_of_every_type(dtype):
    labels = np.array([0, 1, 1, 0]).astype(dtype)
    whole = whole_numbers(labels, "y")
    assert whole.dtype == np.int64 and whole.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 5.5], r"y: row 1 has label 5.5, expected a whole number of at least 0"),
        ([0.0, np.nan], "row 1 has label nan"),
        ([np.inf], "row 0 has label inf"),
        ([3, -1], "row 1 has label -1"),
        (np.array([2**63 + 5], "u8"), "row 0 has label 9223372036854775813, expected a whole number of 0 to"),
        (np.array([1e300]), "row 0 has label 1e\\+300, expected a whole number of 0 to"),
        (np.array([2048.0], "f2"), "expected a whole number of 0 to 2047"),  # 2049 would look the same
        (np.array([2.0**24], "f4"), "expected a whole number of 0 to 16777215"),
        (["seven"], "y is text, expected whole numbers: number the classes"),
        ([1j], "of type complex128"),
        (np.array([None]), "of type object"),
    ],
)
def test_labels_that_are_not_whole_numbers(labels, message):
    with pytest.raises(DataError, match=message):
        whole_numbers(np.asarray(labels), "y")


def test_large_labels_stay_distinct():
    assert whole_numbers(np.array([2**53 - 1, 2**53 - 2]), "y").tolist() == [2**53 - 1, 2**53 - 2]


@pytest.mark.parametrize("part", [LEVELS / 255, BITS, BITS.astype(float)])
def test_two_ranges_in_one_array_are_refused(part):
    with pytest.raises(DataError, match="image 4 has pixels of 0 to 1 .* 4 of 8 images .* multiply these by 255"):
        narrowed(np.concatenate([LEVELS.astype(part.dtype), part]))


def test_a_few_nearly_blank_images_are_accepted():
    many = np.repeat(LEVELS.astype(float), 30, 0)
    many[0] = 0.25
    assert (narrowed(many)[1:] == many[1:]).all()
