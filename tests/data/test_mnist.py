"""MNIST: the places searched, the forms accepted, and its verification."""

import dataclasses
import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from drawn import MNIST, needs_mnist, write_idx

from distlenet.data.file.writer import silent
from distlenet.data.sources import published
from distlenet.data.sources.catalogue import LIKE_MNIST, PUBLISHED
from distlenet.data.sources.idx import idx_sha256
from distlenet.data.sources.published import KERAS_ARRAYS, cache_directory, read_mnist, usual_places
from distlenet.errors import DataError, DownloadError


def load(place):
    return read_mnist(place, silent, mirrors=())


@needs_mnist
def test_the_real_digits_are_the_published_ones():
    found = load(MNIST)
    assert found.train[0].shape == (60000, 28, 28) and found.test[0].shape == (10000, 28, 28)
    assert found.train[1][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(found.test[1]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@needs_mnist
def test_md5_of_the_archives_as_first_published():
    # the checksums most often published; another program's .gz may differ, but its content does not
    md5 = (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    )
    for file, content, expected in zip(LIKE_MNIST, PUBLISHED["mnist"].contents, md5, strict=True):
        path = MNIST / f"{file}.gz"
        if path.is_file() and path.stat().st_size == content.gz_size:
            assert hashlib.md5(path.read_bytes()).hexdigest() == expected
            assert hashlib.sha256(path.read_bytes()).hexdigest() == content.gz_sha256


# ---- small stand-ins for the four files

RNG = np.random.default_rng(0)
ARRAYS = (
    RNG.integers(0, 256, (60, 28, 28), np.uint8),
    np.arange(60, dtype=np.uint8) % 10,
    RNG.integers(0, 256, (30, 28, 28), np.uint8),
    np.arange(30, dtype=np.uint8) % 10,
)
NAMES = LIKE_MNIST


@pytest.fixture
def small(bare, monkeypatch, tmp_path):
    """Replace MNIST's files by small ones, and the user's home and working directory by empty ones."""
    known = PUBLISHED["mnist"]
    contents = tuple(
        dataclasses.replace(content, shape=array.shape, sha256=idx_sha256(array))
        for content, array in zip(known.contents, ARRAYS, strict=True)
    )
    monkeypatch.setitem(PUBLISHED, "mnist", dataclasses.replace(known, contents=contents))
    for directory in ("work", "place"):
        (tmp_path / directory).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def fill(directory, arrays=ARRAYS, names=NAMES, ending=".gz"):
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in zip(names, arrays, strict=True):
        write_idx(directory / f"{name}{ending}", array)
    return directory


def fill_keras(path, arrays=ARRAYS, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez_compressed(path, **dict(zip(names, arrays, strict=True)), **options)
    return path


def same(found):
    for array, expected in zip((*found.train, *found.test), ARRAYS, strict=True):
        np.testing.assert_array_equal(array, expected)
    return True


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("below", ["", "raw", "MNIST/raw"])
def test_files_packed_or_not_and_in_torchvisions_folders(small, ending, below):
    directory = fill(small / "place" / below, ending=ending)
    found = load(small / "place")
    assert same(found) and found.origin == str(directory)


def test_names_with_a_dot_and_a_mixture(small):
    place = small / "place"
    write_idx(place / "train-images.idx3-ubyte", ARRAYS[0])
    write_idx(place / "train-labels-idx1-ubyte.gz", ARRAYS[1])
    write_idx(place / "t10k-images.idx3-ubyte.gz", ARRAYS[2])
    write_idx(place / "t10k-labels-idx1-ubyte", ARRAYS[3])
    assert same(load(place))


@pytest.mark.parametrize("name", ["mnist.npz", ""])
def test_the_file_of_keras(small, name):
    fill_keras(small / "place" / "mnist.npz")
    assert same(load(small / "place" / name))


def test_missing_files_are_named(small):
    with pytest.raises(DataError, match=r"no .*nowhere"):
        load(small / "nowhere")
    fill(small / "place")
    (small / "place" / f"{NAMES[2]}.gz").unlink()
    with pytest.raises(DataError, match=r"has no t10k-images-idx3-ubyte \(.gz or not\)"):
        load(small / "place")


@pytest.mark.parametrize("part", range(4))
def test_one_changed_value_is_refused(small, part):
    arrays = [array.copy() for array in ARRAYS]
    arrays[part].flat[-1] ^= 1
    fill(small / "place", arrays)
    with pytest.raises(DataError, match=f"{NAMES[part]} in .* is not MNIST's.*accepts only MNIST"):
        load(small / "place")


def test_swapped_train_and_test_files_are_refused(small):
    fill(small / "place", ARRAYS[2:] + ARRAYS[:2])
    with pytest.raises(DataError, match=r"uint8 \(30, 28, 28\).*expected uint8 \(60, 28, 28\)"):
        load(small / "place")


def nowhere():
    with pytest.raises(DownloadError, match="MNIST is not on this machine and cannot download train-images"):
        load(None)
    return True


def test_order_of_sources(small, monkeypatch):
    """--from, then $DISTLENET_MNIST, then the cache, torchvision's and keras' places, then the mirrors."""
    assert nowhere()
    expected = [
        fill_keras(small / "home/.keras/datasets/mnist.npz"),
        fill(small / "home/data/MNIST/raw"),
        fill(small / "work/data/MNIST/raw").relative_to(small / "work"),
        fill(small / "home/.cache/distlenet/mnist"),
    ]
    for number in reversed(range(4)):
        assert load(None).origin == str(expected[number])
        path = small / "work" / expected[number]
        for file in [path] if path.is_file() else path.iterdir():
            file.unlink()
    assert nowhere()
    monkeypatch.setenv("DISTLENET_MNIST", str(fill(small / "named")))
    assert load(None).origin == str(small / "named")
    assert load(fill(small / "place")).origin == str(small / "place")


def test_a_damaged_copy_is_skipped_if_found_but_refused_if_named(small, monkeypatch):
    bad = fill(small / "work/data/MNIST/raw")
    (bad / f"{NAMES[0]}.gz").write_bytes(b"\x1f\x8b junk")
    good = fill(small / "home/data/MNIST/raw")
    assert load(None).origin == str(good)
    with pytest.raises(DataError, match="damaged"):
        load(bad)
    monkeypatch.setenv("DISTLENET_MNIST", str(bad))
    with pytest.raises(DataError, match=r"^\$DISTLENET_MNIST: .*damaged"):
        load(None)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ((*ARRAYS[:3], ARRAYS[3].astype(np.int64)), r"y_test .* is int64 \(30,\), expected uint8"),
        ((ARRAYS[0][:59], *ARRAYS[1:]), r"expected uint8 \(60, 28, 28\)"),
        ((*ARRAYS[:3], np.array([{"a": 1}], object)), "holds Python objects"),
        ((np.asfortranarray(ARRAYS[0]), *ARRAYS[1:]), "row by row"),
    ],
)
def test_keras_files_of_other_content(small, arrays, says):
    path = fill_keras(small / "mnist.npz", arrays)
    with pytest.raises(DataError, match=says):
        load(path)


def test_keras_file_with_a_member_missing_or_short(small):
    path = small / "mnist.npz"
    np.savez(path, x_train=ARRAYS[0])
    with pytest.raises(DataError, match=r"not keras' MNIST.*y_train"):
        load(path)
    with zipfile.ZipFile(path, "w") as archive:
        for member in KERAS_ARRAYS:
            archive.writestr(member, b"\x93NUMPY\x01\x00\x0a\x00broken")
    with pytest.raises(DataError, match=r"damaged|expected"):
        load(path)
    fill_keras(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 40):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError) as raised:
            load(path)
        assert "\n" not in str(raised.value)


def test_any_changed_byte_in_a_keras_file_is_an_error_or_harmless(small):
    path = fill_keras(small / "mnist.npz")
    whole = path.read_bytes()
    dice = np.random.default_rng(4)
    messages = []
    for place in dice.integers(0, len(whole), 300):
        data = bytearray(whole)
        data[place] ^= dice.integers(1, 256)
        path.write_bytes(data)
        try:
            assert same(load(path))
        except DataError as error:
            messages.append(str(error))
    assert len(messages) > 100 and not any("\n" in message for message in messages)


def test_a_file_where_the_directory_is_expected(small, tmp_path):
    """One of the four files stands for its directory; for any other file the error names its kind."""
    fill(small / "place")
    file = next(path for path in sorted((small / "place").iterdir()) if "images" in path.name)
    assert len(load(file).train[1]) == len(ARRAYS[1])
    for name, content, kind in (
        ("mnist.zip", b"PK\x03\x04", "a zip archive, expected the directory of train-images.*: unpack it"),
        ("page.gz", b"<html>404", "an HTML page, as a failed download leaves, expected the directory"),
        ("a.csv", b"label,p0,p1\n", r"a table \(CSV\), expected the directory"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=kind):
            load(tmp_path / name)


def test_a_web_page_saved_as_one_of_the_files(small):
    fill(small / "place")
    for name in ("train-labels-idx1-ubyte", "train-labels-idx1-ubyte.gz"):
        (small / "place" / name).unlink(missing_ok=True)
    (small / "place" / "train-labels-idx1-ubyte.gz").write_bytes(b"<!DOCTYPE html><html>404")
    with pytest.raises(DataError, match="train-labels-idx1-ubyte.gz is an HTML page, as a failed download leaves, not"):
        load(small / "place")


def test_a_user_without_a_home(monkeypatch, tmp_path):
    monkeypatch.setattr(published, "home", lambda: None)
    for variable in ("XDG_CACHE_HOME", "KERAS_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert cache_directory() == Path(".cache/distlenet/mnist")
    assert all(not str(place).startswith("~") for place in usual_places())
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_directory() == Path("/cache/distlenet/mnist")
