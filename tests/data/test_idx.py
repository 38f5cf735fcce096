import gzip
import hashlib
import struct
from contextlib import suppress

import numpy as np
import pytest
from drawn import write_idx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distlenet.data.sources.idx import idx_sha256, read_idx
from distlenet.errors import DataError

IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


@pytest.mark.parametrize("name", ["a", "a.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_written_arrays_are_read_back(tmp_path, name, dtype):
    array = (IMAGES - 30.0).astype(dtype) if dtype != "u1" else IMAGES
    write_idx(tmp_path / name, array)
    found = read_idx(tmp_path / name)
    assert found.dtype == np.dtype(dtype) and found.dtype.isnative
    np.testing.assert_array_equal(found, array)


def test_bytes_of_a_file_follow_the_published_format(tmp_path):
    write_idx(tmp_path / "a", np.array([[1, 2], [3, 4], [5, 6]], np.int16))
    assert (tmp_path / "a").read_bytes() == bytes.fromhex(
        "00000b02 00000003 00000002 0001 0002 0003 0004 0005 0006".replace(" ", "")
    )


def test_gzip_is_recognised_by_content_not_by_name(tmp_path):
    write_idx(tmp_path / "a.gz", IMAGES)
    write_idx(tmp_path / "b", IMAGES)
    (tmp_path / "a.gz").rename(tmp_path / "c")  # as a browser saves it
    (tmp_path / "b").rename(tmp_path / "d.gz")
    np.testing.assert_array_equal(read_idx(tmp_path / "c"), IMAGES)
    np.testing.assert_array_equal(read_idx(tmp_path / "d.gz"), IMAGES)


def test_sha256_equals_the_plain_files(tmp_path):
    write_idx(tmp_path / "a", IMAGES)
    assert idx_sha256(IMAGES) == hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest()


def plain(rank=3, code=8, shape=(5, 4, 3), zeros=0):
    return struct.pack(f">HBB{len(shape)}I", zeros, code, rank, *shape) + IMAGES.tobytes()


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "cut off in its header"),
        (b"\0\0\x08", "cut off in its header"),
        (plain()[:9], "cut off in its header"),
        (plain()[:-1], "is cut off"),
        (plain() + b"\0", "bytes after its end"),
        (plain(zeros=1), "not an IDX file"),
        (plain(code=7), "not an IDX file"),
        (plain(rank=0), "not an IDX file"),
        (plain(rank=200), "not an IDX file"),
        (b"<!DOCTYPE html><html>", "not an IDX file"),
        (plain(shape=(2**32 - 1,) * 3), "cut off|more than"),
        (plain(shape=(2**31, 1, 1)), "cut off|more than"),
    ],
)
def test_invalid_content_gives_one_sentence(tmp_path, pack, data, says):
    path = tmp_path / "file"
    path.write_bytes(pack(data))
    with pytest.raises(DataError, match=says) as raised:
        read_idx(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: data[: len(data) // 2], "gzip data ends too early"),
        (lambda data: data[:-9], "ends too early|cut off"),
        (lambda data: data[:-8] + bytes(4) + data[-4:], "incorrect data check"),
        (lambda data: data[:12] + bytes(8) + data[20:], "damaged|cut off|IDX"),
        (lambda data: data + b"junk", "Not a gzipped file|damaged"),
        # a false header must not cause an allocation
        (lambda data: gzip.compress(plain(shape=(60000, 28, 28))), "60 bytes of numbers, expected 47,040,000"),
    ],
)
def test_damaged_gzip_gives_one_sentence(tmp_path, spoil, says):
    (tmp_path / "a.gz").write_bytes(spoil(gzip.compress(plain())))
    with pytest.raises(DataError, match=says) as raised:
        read_idx(tmp_path / "a.gz")
    assert "\n" not in str(raised.value)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(DataError, match="no file .*, expected an IDX file"):
        read_idx(tmp_path / "a")
    with pytest.raises(DataError, match="directory"):
        read_idx(tmp_path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 75), flip=st.integers(1, 255), packed=st.booleans())
def test_a_changed_byte_never_escapes_as_another_error(tmp_path, at, flip, packed):
    data = bytearray(gzip.compress(plain()) if packed else plain())
    data[at % len(data)] ^= flip
    (tmp_path / "a").write_bytes(data)
    with suppress(DataError):
        read_idx(tmp_path / "a")
