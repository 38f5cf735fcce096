"""Untrusted packed files: those that would fill the memory are refused early, intact ones are read."""

import gzip
import io
import os
import struct
import sys
import zipfile
import zlib

import mpi_jobs
import numpy as np
import pytest

from distlenet.data.sources import unpacking
from distlenet.data.sources.catalogue import LIKE_MNIST
from distlenet.data.sources.unpacking import open_unpacked
from distlenet.errors import DataError

CONTENT = np.random.default_rng(7).bytes(300_000)


def unpacked(path, content):
    path.write_bytes(content)
    with open_unpacked(path) as file:
        return file.read()


@pytest.mark.parametrize(
    "packed",
    [
        CONTENT,
        gzip.compress(CONTENT),
        gzip.compress(CONTENT[:100_000]) + gzip.compress(b"") + gzip.compress(CONTENT[100_000:]),
        gzip.compress(CONTENT) + bytes(70_000),  # a tape's padding
        b"".join(gzip.compress(CONTENT[at : at + 60_000], 1) for at in range(0, 300_000, 60_000)),
    ],
)
def test_intact_files_are_read_packed_or_not(packed, tmp_path):
    assert unpacked(tmp_path / "a", packed) == CONTENT


@pytest.mark.parametrize("wanted", [1, 7, 65_536, 10**6])
def test_pieces_of_any_size(wanted, tmp_path):
    (tmp_path / "a").write_bytes(gzip.compress(CONTENT) + gzip.compress(CONTENT))
    with open_unpacked(tmp_path / "a") as file:
        start = file.read(wanted)
        assert start + file.read() == CONTENT * 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(CONTENT)[:-9], "is cut off"),
        (gzip.compress(CONTENT)[:-8] + bytes(8), "is damaged: incorrect data check"),
        (gzip.compress(CONTENT) + b"junk", "is damaged: incorrect header check"),
        (b"\x1f\x8b", "is cut off"),
        (gzip.compress(b"a") + gzip.compress(b"") * 5000, "too many empty gzip members"),
    ],
)
def test_damaged_files(content, message, tmp_path):
    with pytest.raises(DataError, match=message):
        unpacked(tmp_path / "a", content)


def test_the_limit_is_the_packed_size_or_plenty(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "PIECE", 1000)
    zeros = gzip.compress(bytes(10**6))  # a thousandth
    (tmp_path / "a").write_bytes(zeros)
    with open_unpacked(tmp_path / "a", 10**6) as file:
        assert len(file.read()) == 10**6
    with (
        open_unpacked(tmp_path / "a", 10**6 - 1) as file,
        pytest.raises(DataError, match="more than 100 times its size"),
    ):
        file.read()


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is a pipe, expected a file"):
        open_unpacked(tmp_path / "pipe")


def bomb(path, start, unit, megabytes):
    """Write a gzip of ``start`` followed by many repeats of ``unit``, quickly: one packed piece is repeated."""
    deflate = zlib.compressobj(9, wbits=-15)
    first = deflate.compress(start) + deflate.flush(zlib.Z_FULL_FLUSH)
    piece = deflate.compress(unit * (2**20 // len(unit))) + deflate.flush(zlib.Z_FULL_FLUSH)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x1f\x8b\x08" + bytes(7) + first + piece * megabytes)
    return path


def npy(shape, descr="|u1", version=1):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H" if version == 1 else "<I", len(header)) + header


def npz(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def many(path):
    """Write a zip whose directory is larger than its content: every entry would become an object."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(15_000):
            archive.writestr(f"{'a' * 100}{number}.npy", b"")
    return path


HEADERS = {  # each no longer than the length that is read
    **{"brackets": "[" * 3900, "signs": "-" * 3900 + "1", "parentheses": "(" * 3900, "dictionaries": "{1:" * 1200},
    **{"digits": "9" * 3900, "negative": (-2, 3), "bools": (True, True), "floats": (1.0,), "many": (1,) * 99},
    "text": "'\x1b[2J'",
}
CHECK = """
import sys
from pathlib import Path
from distlenet.data.sources.csv import read_csv
from distlenet.data.sources.published import read_mnist
from distlenet.data.sources.npz import read_npz
from distlenet.data.file.writer import silent
from distlenet.errors import DataError
peak = lambda: int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
before = peak()
for word in sys.argv[1:]:
    kind, _, path = word.partition(":")
    try:
        {"csv": read_csv, "npz": read_npz, "idx": read_mnist}[kind](Path(path), silent)
        print(word, "was read")
    except DataError as error:
        print(ascii(str(error)))
print(peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak is read from /proc")
def test_files_that_would_fill_the_memory_take_almost_none(tmp_path):
    for name in LIKE_MNIST:
        bomb(tmp_path / "idx" / f"{name}.gz", struct.pack(">HBBI", 0, 8, 1, 2**32 - 1), b"\0", 100)
        bomb(tmp_path / "idx2" / f"{name}.gz", struct.pack(">HBB3I", 0, 8, 3, 60000, 28, 28), b"\0", 1000)
    huge_header = io.BytesIO(npy((3,), version=2)[:8] + struct.pack("<I", 2**31) + bytes(2**26))
    files = [
        ("csv", bomb(tmp_path / "line.csv.gz", b"1,0,0,0,0\n1", b",0", 3000)),
        ("csv", bomb(tmp_path / "first.csv.gz", b"1", b",0", 300)),
        ("csv", bomb(tmp_path / "cell.csv.gz", b"1,", b"0", 300)),
        ("csv", bomb(tmp_path / "rows.csv.gz", b"", b"1" + b",0" * 784 + b"\n", 300)),
        ("csv", bomb(tmp_path / "blank.csv.gz", b"1,0,0,0,0\n", b"\n", 300)),
        ("idx", tmp_path / "idx"),
        ("idx", tmp_path / "idx2"),
        ("npz", npz(tmp_path / "claim.npz", x=npy((2**40, 28, 28)), y=npy((2**40,)))),
        ("npz", npz(tmp_path / "zeros.npz", x=npy((2**26, 1, 1)) + bytes(2**26), y=npy((2**30,), "<i8"))),
        ("npz", npz(tmp_path / "header.npz", x=huge_header.getvalue(), y=b"")),
        ("npz", npz(tmp_path / "objects.npz", x=npy((3,), "|O") + b"cos\nsystem\n", y=npy((3,)))),
        ("npz", many(tmp_path / "many.npz")),
        *(("npz", npz(tmp_path / f"{name}.npz", x=npy(text), y=npy((3,)))) for name, text in HEADERS.items()),
    ]
    (tmp_path / "plain.csv").write_bytes(b"1,0,0,0,0\n1" + b",0" * 2**24)
    files.append(("csv", tmp_path / "plain.csv"))
    words = [f"{kind}:{path}" for kind, path in files]
    done = mpi_jobs.run([sys.executable, "-c", CHECK, *words], timeout=120)
    *message, peak = done.stdout.splitlines()
    assert not done.stderr and len(message) == len(files)
    for (_, path), sentence in zip(files, message, strict=True):
        assert path.name in sentence and "was read" not in sentence, sentence
    assert "\\x1b[" not in done.stdout.replace("\\\\x1b[", "")  # a header's text is quoted
    assert int(peak) < 150_000  # KiB
