import zipfile

import numpy as np
import pytest

from distlenet.data.file.writer import silent
from distlenet.data.sources.npz import read_npz
from distlenet.errors import DataError

RNG = np.random.default_rng(2)
IMAGES = RNG.integers(0, 256, (40, 6, 9), np.uint8)
LABELS = np.arange(40) % 5


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def four(images=IMAGES, labels=LABELS, **other):
    return {"x_train": images, "y_train": labels, "x_test": images[:10], "y_test": labels[:10], **other}


def contents(block):
    return sorted((int(label), image.tobytes()) for image, label in zip(*block, strict=True))


EXPECTED = contents((IMAGES, LABELS))


@pytest.mark.parametrize(
    "change",
    [
        lambda images, labels: (images, labels),
        lambda images, labels: (images[..., None], labels[:, None]),
        lambda images, labels: (images[:, None], labels.astype(np.uint8)),
        lambda images, labels: (np.repeat(images[..., None], 3, -1), labels),
        lambda images, labels: (np.repeat(images[:, None], 3, 1), labels),
        lambda images, labels: (images.astype(np.int64), labels.astype(np.float32)),
        lambda images, labels: (images.astype(np.float32) / 255, labels),
        lambda images, labels: (images.astype(np.float64) / 255, labels),
        lambda images, labels: (np.asfortranarray(images), labels.astype(">i4")),
    ],
)
@pytest.mark.parametrize("writer", [np.savez, np.savez_compressed])
def test_images_in_all_their_shapes_and_types(change, writer, tmp_path):
    writer(tmp_path / "a.npz", **four(*change(IMAGES, LABELS)))
    dataset = read_npz(tmp_path / "a.npz", silent)
    assert contents(dataset.train) == EXPECTED
    np.testing.assert_array_equal(dataset.test[0], IMAGES[:10])
    np.testing.assert_array_equal(dataset.test[1], LABELS[:10])
    assert dataset.class_names == ("0", "1", "2", "3", "4") and dataset.name == "a"


def test_a_single_pair_of_arrays_is_split(tmp_path):
    dataset = read_npz(save(tmp_path / "a.npz", images=IMAGES, labels=LABELS), silent, share=0.25)
    assert len(dataset.test[0]) == 10 and "25 %" in dataset.source
    assert sorted(contents(dataset.train) + contents(dataset.test)) == EXPECTED


def test_rows_of_pixels_need_a_size_unless_square(tmp_path):
    path = save(tmp_path / "a.npz", images=IMAGES.reshape(40, -1), labels=LABELS)
    assert read_npz(path, silent, size=(6, 9)).train[0].shape[1:] == (6, 9)
    with pytest.raises(DataError, match="not a square"):
        read_npz(path, silent)


def test_black_and_white_becomes_0_and_255(tmp_path):
    dataset = read_npz(save(tmp_path / "a.npz", images=IMAGES > 127, labels=LABELS), silent)
    assert set(np.unique(dataset.train[0])) == {0, 255}


def objects():
    array = np.empty(2, object)
    array[:] = [np.zeros((3, 3)), np.zeros((4, 4))]
    return array


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": IMAGES}, r"holds a \(uint8 \(40, 6, 9\)\), expected x_train"),
        (four(x_test=IMAGES[:10, 1:]), r"the sizes \(5, 9\) and \(6, 9\), expected one size"),
        (four(objects()), "Python objects, like arrays of mixed sizes"),
        (four(y_train=LABELS[:-1]), r"y_train in .* has shape \(39,\), expected \(40,\)"),
        (four(y_train=LABELS + 0.5), "row 0 has label 0.5, expected a whole number"),
        (four(y_train=LABELS - 1), "row 0 has label -1"),
        (four(y_train=LABELS * 0), "has 1 classes"),
        (four(y_test=LABELS[:10] + 1), "row 4 has label 5, which no training image has"),
        (four(y_train=np.array(["a"] * 40)), "expected whole numbers"),
        (four(IMAGES * 2.0), "values from .*, expected pixels of 0 to 255, or of 0 to 1"),
        (four(IMAGES - 300.0), "expected pixels of 0 to 255"),
        (four(np.full(IMAGES.shape, np.nan)), "holds NaN"),
        (four(IMAGES * 1j), "of type complex128"),
        (four(IMAGES[:, 0, 0]), r"has shape \(40,\), expected \(n, rows, columns\)"),
        ({"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES}, "holds x_test but no test labels"),
        ({"x_train": IMAGES, "y_train": LABELS, "y_test": LABELS}, "holds y_test but no test images"),
        ({"x_train": IMAGES, "y_train": LABELS, "x_val": IMAGES}, "holds x_val but no validation labels"),
        ({"x_train": IMAGES, "labels_of": LABELS}, r"no train labels,.* labels_of \(int64 \(40,\)\)"),
        ({"arr_0": IMAGES, "arr_1": LABELS}, r"arr_0 \(uint8 \(40, 6, 9\)\), arr_1 \(int64 .* np.savez"),
        ({"x_test": IMAGES, "y_test": LABELS}, "expected x_train, y_train"),
        ({"x_train": IMAGES, "images": IMAGES, "y_train": LABELS}, "x_train and images, expected one array of train"),
        (four(y_train=np.eye(5)[LABELS]), r"\(40, 5\), expected \(40,\).*argmax"),
        (four(IMAGES.astype(np.float32) - 0.5), "values from -0.5"),
        (four(y_train=LABELS.astype("M8[s]")), r"y_train in .* holds datetime64"),
        (four(np.zeros(40, [("a", "f4")])), "is a structured array"),
        # a name that a terminal would obey is quoted
        (four(**{"\x1b[2J": IMAGES}), r"holds an array called '\\x1b\[2J.npy', expected names"),
    ],
)
def test_unsuitable_arrays_give_one_sentence(arrays, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read_npz(save(tmp_path / "a.npz", **arrays), silent)


def test_damaged_archives(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match="there is no file"):
        read_npz(path, silent)
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match="is text .*expected a numpy archive"):
        read_npz(path, silent)
    save(path, **four())
    whole = bytearray(path.read_bytes())
    whole[300] ^= 255
    path.write_bytes(whole)
    with pytest.raises(DataError, match="damaged"):
        read_npz(path, silent)


def test_a_false_header_takes_no_memory(tmp_path):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (100000, 1000, 1000), }"
    header += b" " * (117 - len(header)) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        archive.writestr("labels.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DataError, match="claim 200,000,000,000 bytes"):
        read_npz(tmp_path / "a.npz", silent)


@pytest.mark.parametrize(
    "names",
    [
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("train_X", "train_y", "test_X", "test_y"),
        ("trainImages", "trainLabels", "testImages", "testLabels"),
        ("training_data", "training_labels", "testing_data", "testing_labels"),
        ("x", "y", "x_test", "y_test"),
        *(("x_train", "y_train", f"X_{name}", f"y_{name}") for name in ("eval", "holdout", "t10k")),
    ],
)
def test_names_of_other_spellings(names, tmp_path):
    arrays = dict(zip(names, (IMAGES[10:], LABELS[10:], IMAGES[:10], LABELS[:10]), strict=True))
    dataset = read_npz(save(tmp_path / "a.npz", **arrays), silent)
    assert contents(dataset.train) == contents((IMAGES[10:], LABELS[10:]))
    np.testing.assert_array_equal(dataset.test[0], IMAGES[:10])
    assert dataset.notes == ()


def test_validation_arrays_and_unknown_ones_are_reported(tmp_path):
    parts = {"x_train": IMAGES[:20], "y_train": LABELS[:20], "x_val": IMAGES[20:30], "y_val": LABELS[20:30]}
    dataset = read_npz(save(tmp_path / "a.npz", **parts, x_test=IMAGES[30:], y_test=LABELS[30:]), silent)
    assert contents((dataset.train[0][-10:], dataset.train[1][-10:])) == contents((IMAGES[20:30], LABELS[20:30]))
    assert dataset.validation == 10 and "--validation 10" in dataset.notes[0]
    dataset = read_npz(save(tmp_path / "a.npz", **parts, weights=LABELS), silent)
    np.testing.assert_array_equal(dataset.test[0], IMAGES[20:30])
    assert dataset.notes[0] == "skipped: weights" and "they are used as test images" in dataset.notes[1]


def test_test_images_that_are_training_images_are_reported(tmp_path):
    dataset = read_npz(save(tmp_path / "a.npz", **four()), silent)
    assert dataset.notes[0].startswith("10 of the 10 test images are also training images")


def test_dark_images_and_classes_without_a_test_image_are_reported(tmp_path):
    path = save(
        tmp_path / "a.npz", x_train=IMAGES // 16, y_train=LABELS, x_test=IMAGES[:2] // 16 + 1, y_test=LABELS[:2]
    )
    assert read_npz(path, silent).notes == (
        "no test image shows 2, 3, 4",
        "the brightest pixel is 15 of 255; if that is full ink, multiply by 17",
    )
