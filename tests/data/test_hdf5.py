"""Untrusted HDF5 files: anything but plain numbers in the file itself is refused at once, at no cost."""

import os

import h5py
import numpy as np
import pytest

from distlenet.data.file.dataset_file import open_digit_file, write_digit_file
from distlenet.data.file.hdf5 import ForeignError, attribute, datasets, missing_or_linked, open_hdf5
from distlenet.errors import DataError


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/numbers"] = np.arange(1000, dtype="f4")
        file["whole"] = np.arange(10)
    return tmp_path / "a.h5"


def refused(path, names, says):
    with open_hdf5(path) as file, pytest.raises(ForeignError, match=says):
        datasets(file, names)


def test_plain_numbers_are_accepted(path):
    with open_hdf5(path) as file:
        found = datasets(file, ["group/numbers", "whole"])
        np.testing.assert_array_equal(found["group/numbers"][:], np.arange(1000))
        assert missing_or_linked(file, "group/numbers") == ""


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_a_directory_a_pipe_or_a_device_is_never_opened(tmp_path, make):
    make(tmp_path / "b.h5")
    with pytest.raises(ForeignError, match="is not a file but a"):
        open_hdf5(tmp_path / "b.h5")
    with pytest.raises(DataError, match="is not a file but a"):
        open_digit_file(tmp_path / "b.h5")


@pytest.mark.parametrize("name", ["group", "group/numbers", "group/deeper/numbers"])
def test_a_link_to_a_pipe_is_not_opened(path, tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(path, "r+") as file:
        file.pop(name, None)
        file[name] = h5py.ExternalLink("pipe", "/numbers")
    refused(path, ["group/deeper/numbers" if "deeper" in name else "group/numbers"], f"/{name} is an external link")


def test_names_that_lead_nowhere(path):
    with h5py.File(path, "r+") as file:
        file["soft"] = h5py.SoftLink("/soft")  # to itself
        file["round"] = h5py.SoftLink("/group")
        file["group/up"] = file["/"]  # a circle of hard links, which is legal
        file["type"] = np.dtype("f4")
    refused(path, ["soft"], "/soft is a soft link")
    refused(path, ["round/numbers"], "/round is a soft link")
    refused(path, ["group/numbers/deeper"], "/group/numbers/deeper is missing")
    for name in ("", "/", "group//numbers", "other"):
        refused(path, [name], "is missing")
    refused(path, ["group"], "not a dataset")
    refused(path, ["type"], "not a dataset")
    with open_hdf5(path) as file:
        assert datasets(file, ["group/up/group/up/whole"])["group/up/group/up/whole"].size == 10


def test_each_name_of_one_array_counts(path):
    with h5py.File(path, "r+") as file:
        for number in range(200):
            file[f"group/{number}"] = file["group/numbers"]
    with open_hdf5(path) as file:
        assert len(datasets(file, [f"group/{number}" for number in range(2)])) == 2
    refused(path, [f"group/{number}" for number in range(200)], "claim 800,000 bytes, more than")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"data": np.zeros(10**6), "compression": "gzip"}, "chunked or compressed"),
        ({"shape": (10**12,), "dtype": "u1", "chunks": (10**6,)}, "chunked or compressed"),  # never written: zeros
        ({"shape": (10**12,), "dtype": "u1"}, "claims 1,000,000,000,000 bytes that are not in the file"),
        ({"shape": (2**40, 2**40), "dtype": "f8", "chunks": (1, 1)}, "chunked or compressed"),
        ({"data": ["a", "b"]}, "data that are not numbers"),
        ({"data": b"text"}, "data that are not numbers"),
        ({"shape": (3,), "dtype": h5py.vlen_dtype(np.uint8)}, "data that are not numbers"),
        ({"shape": (3,), "dtype": h5py.ref_dtype}, "data that are not numbers"),
        ({"shape": (3,), "dtype": np.dtype([("a", "f4")])}, "data that are not numbers"),
        ({"shape": (3,), "dtype": np.dtype(("f4", (2**20,)))}, "data that are not numbers|chunked|claims"),
        ({"data": h5py.Empty("f4")}, "no shape"),
        ({"shape": (9,), "dtype": "u1", "external": [("raw", 0, 9)]}, "other files"),
    ],
)
def test_arrays_that_are_not_plain(path, options, says):
    with h5py.File(path, "r+") as file:
        file.create_dataset("odd", **options)
    refused(path, ["odd"], says)


def test_virtual_data_are_refused(path):
    virtual = h5py.VirtualLayout((10,), "i8")
    virtual[:] = h5py.VirtualSource(path, "whole", (10,))
    with h5py.File(path, "r+") as file:
        file.create_virtual_dataset("odd", virtual)
    refused(path, ["odd"], "other files")


def test_attributes_are_one_number_or_one_short_text(path):
    with h5py.File(path, "r+") as file:
        file.attrs["number"] = 0.5
        file.attrs["text"] = "short"
        file.attrs["bytes"] = np.bytes_(b"short")
        file.attrs["array"] = [1, 2]
        file.attrs["long"] = "x" * 1000
        file.attrs["long bytes"] = np.bytes_(b"x" * 1000)
        file.attrs["empty"] = h5py.Empty("f4")
        file.attrs["reference"] = file["whole"].ref
    with open_hdf5(path) as file:
        found = [attribute(file, name, 100) for name in ("number", "text", "bytes", "nothing")]
        assert found == [0.5, "short", b"short", None]
        for name in ("array", "long", "long bytes", "empty", "reference"):
            with pytest.raises(ForeignError, match=f"attribute {name} "):
                attribute(file, name, 100)


@pytest.mark.parametrize("name", ["\x1b[2Jb", "\x9b2J", "\ud800"])
def test_control_characters_in_class_names_are_refused(tmp_path, monkeypatch, name):
    images, labels = np.arange(80, dtype=np.uint8).reshape(5, 4, 4), np.array([0, 1, 0, 1, 0], np.uint8)
    block = (images, labels)
    given = {"train": block, "test": block, "name": "n", "class_names": ("a", name), "source": "a test"}
    with pytest.raises(DataError, match="a class is named .* without control characters"):
        write_digit_file(tmp_path / "a.h5", **given)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("distlenet.data.file.writer.is_name", lambda name: True)
    write_digit_file(tmp_path / "a.h5", **given)
    with pytest.raises(DataError, match="class_names is not .* without control characters"):
        open_digit_file(tmp_path / "a.h5")
