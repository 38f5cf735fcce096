"""Recognises the kind of a file by its first bytes, for error messages that name it and give advice."""

import shlex
import zlib
from pathlib import Path

from distlenet import bounded

HEAD = 1024  # bytes examined
GZIP = b"\x1f\x8b"

STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "a single numpy array (.npy)"),
    (GZIP, "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"(\xb5/\xfd", "a Zstandard file"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"II*\x00", "a picture (TIFF)"),
    (b"MM\x00*", "a picture (TIFF)"),
    (b"%PDF", "a PDF document"),
    (b"PAR1", "a Parquet table"),
    (b"ARROW1", "a Feather table"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: fetch that with `git lfs pull`"),
    (b"\xff\xfe", "text in UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16: save it as UTF-8"),
    *((bytes((0, 0, code)), "an IDX file") for code in (8, 9, 11, 12, 13, 14)),
)
ZIPS = {
    ".npz": "a numpy archive (.npz)",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".xlsx": "an Excel workbook",
    ".keras": "a Keras model",
}
TEXTS: dict[tuple[bytes, ...], str] = {
    (b"<!doctype html", b"<html", b"<head", b"<body"): "an HTML page, as a failed download leaves",
    (b"<",): "XML",
    (b"{", b"["): "JSON",
    (b"@relation",): "an ARFF table",
}
TABLES = (".csv", ".tsv")  # text with these suffixes is a table, even if it has few columns
ARRAYS = (
    "load it in Python, save its arrays with np.savez(FILE, x_train=..., y_train=...), then `distlenet prepare npz`"
)
IDX_FILES = ("*-ubyte", "*-ubyte.gz", "raw/*-ubyte", "raw/*-ubyte.gz", "MNIST/raw/*-ubyte", "MNIST/raw/*-ubyte.gz")
# the first of these words that occurs in the kind of a file selects the command that makes a dataset file from it
COMMANDS = {
    "IDX files": "distlenet prepare mnist --from {path}",
    "IDX file": "distlenet prepare mnist --from {parent}",
    "directory": "distlenet prepare folder --from {path}",
    "CSV": "distlenet prepare csv --from {path}",
    "numpy archive": "distlenet prepare npz --from {path}",
    "picture": "distlenet prepare folder --from DIR",
    **dict.fromkeys(("PyTorch", "Parquet", "Feather", "MATLAB", "pickle", "numpy", "Excel"), ARRAYS),
    **dict.fromkeys(
        ("archive", "gzip", "bzip2", "an xz", "Zstandard"), "unpack it, then see `distlenet prepare --help`"
    ),
}


def kind_of(path: Path) -> str:
    """Return the kind of the file or directory ``path``, with an article: "an HTML page". Never blocks."""
    try:
        if (found := bounded.kind(path, follow_links=True)) not in ("a file", None):
            return found
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        return f"unreadable ({error.strerror or error})"
    kind = kind_of_bytes(head, path.suffix.lower())
    if not head.startswith(GZIP):
        return kind
    try:
        inside = zlib.decompressobj(wbits=31).decompress(head, HEAD)
    except zlib.error:
        return "a damaged gzip file"
    return f"{kind} that holds {kind_of_bytes(inside, Path(path.stem).suffix.lower())}" if inside else kind


def kind_of_bytes(head: bytes, suffix: str = "") -> str:
    """Return the kind of a file with the suffix ``suffix`` that starts with the bytes ``head``."""
    found = next((kind for start, kind in STARTS if head.startswith(start)), "")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        found = ZIPS.get(suffix, "a zip archive")
    elif head[257:262] == b"ustar":
        found = "a tar archive"
    elif head[:2] == b"BM" and head[6:10] == bytes(4):
        found = "a picture (BMP)"
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        found = "a picture (WebP)"
    elif head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        found = "a Python pickle, which could run code and is therefore never read"
    elif not head:
        found = "empty"
    text = "" if found else _text(head)
    if text.startswith("text (") and suffix in TABLES:
        return "a table (CSV)"
    return found or text or f"a file of an unknown kind (it starts with {head[:8].hex(' ')})"


def _text(head: bytes) -> str:
    """Return the kind of text that starts with ``head``; empty if it is not text."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for starts, kind in TEXTS.items():
        if text.startswith(starts):
            return kind
    try:
        line = head.decode("utf-8", "strict" if len(head) < HEAD else "ignore").splitlines()[0]
    except UnicodeDecodeError:
        return ""
    if b"\x00" in head:
        return ""
    return "a table (CSV)" if max(map(line.count, ",;\t")) > 1 else f"text (it starts with {line[:30]!r})"


def prepare_command(path: Path) -> str:
    """Return the end of a sentence: how to make a dataset file from ``path``, which is another kind of file."""
    kind = kind_of(path)
    if kind == "a directory" and any(next(path.glob(pattern), None) for pattern in IDX_FILES):
        kind = "a directory of IDX files"
    command = next((command for word, command in COMMANDS.items() if word in kind), "distlenet prepare mnist")
    command = command.format(path=shlex.quote(str(path)), parent=shlex.quote(str(path.parent)))
    return f"make one with `{command}`" if command.startswith("distlenet") else command
