import gzip
import io
import os
import zipfile

import numpy as np
import pytest

from distlenet.data.file.kind import kind_of, prepare_command


def npz():
    data = io.BytesIO()
    np.savez(data, x=np.zeros(3))
    return data.getvalue()


def zipped():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a", "b")
    return data.getvalue()


HTML = b"\n<!DOCTYPE html><html><head><title>404 Not Found</title>"


@pytest.mark.parametrize(
    ("name", "content", "kind", "advice"),
    [
        ("a.gz", HTML, "an HTML page", "prepare mnist"),
        ("a.gz", gzip.compress(HTML), "a gzip file that holds an HTML page", "unpack it"),
        ("a.csv", b"label,p0,p1\n5,0,0\n", "a table (CSV)", "prepare csv --from"),
        ("a.csv", b"a,b\n", "a table (CSV)", "prepare csv --from"),
        ("a.csv.gz", gzip.compress(b"5,0,0\n"), "a gzip file that holds a table (CSV)", "prepare csv --from"),
        ("a.npz", npz(), "a numpy archive", "prepare npz --from"),
        ("a.npy", b"\x93NUMPY\x01\x00", "a single numpy array", "np.savez"),
        ("a.zip", zipped(), "a zip archive", "unpack it"),
        ("a.pt", zipped(), "a PyTorch file", "np.savez"),
        ("a.xlsx", zipped(), "an Excel workbook", "np.savez"),
        ("a.parquet", b"PAR1\x15\x04", "a Parquet table", "np.savez"),
        ("a.pkl", b"\x80\x04\x95\x00", "a Python pickle", "np.savez"),
        ("a.mat", b"MATLAB 5.0 MAT-file", "a MATLAB file", "np.savez"),
        ("train-images", b"\0\0\x08\x03\0\0\xea\x60", "an IDX file", "prepare mnist --from"),
        ("a.gz", gzip.compress(b"\0\0\x08\x03\0\0"), "a gzip file that holds an IDX file", "prepare mnist --from"),
        ("a.tar", b"a".ljust(257, b"\0") + b"ustar", "a tar archive", "unpack it"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "a picture (PNG)", "prepare folder"),
        ("a.csv", "label,p0\n".encode("utf-16"), "text in UTF-16", "prepare"),
        ("a.h5", b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer", "prepare"),
        ("a.gz", b"\x1f\x8b\xff\xff\xff\xff", "a damaged gzip file", "unpack"),
        ("a.csv", b"BMI,age,label\n", "a table (CSV)", "prepare csv"),
        ("a", b"", "empty", "prepare mnist"),
        ("a", b"once upon a time", "text (it starts with 'once upon a time')", "prepare mnist"),
        ("a", b"\x07\x00\xff\xfe", "a file of an unknown kind (it starts with 07 00 ff fe)", "prepare mnist"),
    ],
)
def test_kinds_of_files_and_advice(name, content, kind, advice, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert kind_of(tmp_path / name).startswith(kind)
    assert advice in prepare_command(tmp_path / name)


def test_kinds_that_are_not_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert kind_of(tmp_path / "pipe") == "a pipe"
    assert kind_of(tmp_path) == "a directory" and "prepare folder" in prepare_command(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").touch()
    assert "prepare mnist" in prepare_command(tmp_path)
    assert kind_of(tmp_path / "none").startswith("unreadable (No such file")
