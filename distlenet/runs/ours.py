"""Recognises this program's files by their name AND their content. No other file is ever removed or replaced."""

import base64
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import h5py

from distlenet.bounded import head, is_real_directory, kind
from distlenet.config import Config
from distlenet.data.file.hdf5 import SIGNATURE
from distlenet.runs.lock import is_mark
from distlenet.runs.timeline import NAME, is_timeline

PART = re.compile(r"\.(?P<name>.+)\.\d+-[0-9a-f]{8}\.part")  # left behind if `replacing` is killed
CHECKPOINT = re.compile(r"(last|last-\d+|best|epoch-\d{4,})\.h5")
ASIDE = re.compile(r"(?P<name>.+)\.aside(-\d+)?")
GENERATOR = '<meta name="generator" content="distlenet">'  # in a report's page
SOFTWARE = "distlenet"  # in a report's figures
EARLIER_PAGE = b"<style>\nbody { font: 15px/1.5 system-ui, sans-serif; color: #222;"  # pages without GENERATOR
SETTINGS = {"model", "epochs", "batch_size", "shards", "seed", "lr", "optimizer"}  # in every config.toml


def is_journal(path: Path) -> bool:
    """Whether ``path`` is a run's journal. It may be empty, since a run may be killed before its first line."""
    content = head(path)
    if content is None:
        return False
    lines = content.splitlines()
    return not lines or any(line.startswith(b'{"kind": "') and b'"steps": ' in line for line in lines)


def is_summary(path: Path) -> bool:
    """Whether ``path`` is a run's summary.json."""
    content = head(path) or b""
    return content.lstrip().startswith(b"{") and b'"status": ' in content and b'"theta_sha256": ' in content


def is_config(path: Path) -> bool:
    """Whether ``path`` is a run's config.toml: all settings, one per line, and nothing else."""
    lines = (head(path) or b"").decode(errors="replace").splitlines()
    names = {line.partition(" = ")[0] for line in lines}
    return names >= SETTINGS and len(names) == len(lines) and names <= Config.__dataclass_fields__.keys()


def is_checkpoint(path: Path, damaged: bool = False) -> bool:
    """Whether ``path`` is a checkpoint, and not a symbolic link.

    With ``damaged``, an HDF5 file that cannot be opened and an empty file count too.
    """
    start = head(path, len(SIGNATURE))
    if start != SIGNATURE:
        return damaged and start == b""
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            return "format" in file.attrs and "sha256" in file.attrs and file.id.links.exists(b"theta")
    except Exception:  # h5py raises many kinds on a damaged file
        return damaged


def is_postmortem(path: Path) -> bool:
    """Whether ``path`` is part of a post-mortem, 1.txt or 1.json."""
    if not re.fullmatch(r"\d+\.(txt|json)", path.name):
        return False
    content = head(path) or b""
    if path.suffix == ".txt":
        return content.split(b"\n", 2)[1:2] != [] and content.split(b"\n", 2)[1].startswith(b"done about it: ")
    return content.startswith(b"{") and b'"kind": ' in content and b'"action": ' in content and b'"what": ' in content


def is_events(path: Path) -> bool:
    """Whether ``path`` is this program's event file for TensorBoard; other programs number theirs by the time."""
    named = re.fullmatch(r"events\.out\.tfevents\.\d{6}\..+", path.name)
    return named is not None and b"brain.Event:2" in (head(path, 100) or b"")


def is_report(path: Path) -> bool:
    """Whether ``path`` is the page of a report, or one of the figures next to it."""
    if path.name == "report.html":
        start = head(path, 4000) or b""
        return GENERATOR.encode() in start or EARLIER_PAGE in start
    if path.suffix == ".svg":
        start = head(path, 4000) or b""
        return b"<svg" in start and f"<dc:title>{SOFTWARE}</dc:title>".encode() in start
    if path.suffix != ".png":  # as earlier versions wrote the figures
        return False
    content = head(path, 2**24) or b""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return False
    page = path.with_name("report.html")
    if SOFTWARE.encode() in content[:200]:
        return True
    return is_report(page) and base64.b64encode(content) in (head(page, 2**28) or b"")


def is_series(path: Path) -> bool:
    """Whether ``path`` is the results.json of a series."""
    with suppress(ValueError, AttributeError, RecursionError):
        return {"title", "defective_runs", "settings", "runs"} <= json.loads(head(path, 2**26) or b"").keys()
    return False


FILES: dict[str, Callable[[Path], bool]] = {
    "lock": lambda path: is_mark(path) or head(path, 1) == b"",
    "journal.jsonl": is_journal,
    "summary.json": is_summary,
    "config.toml": is_config,
    NAME: is_timeline,
}
FOLDERS: dict[str, Callable[[Path], bool]] = {
    "checkpoints": lambda path: is_saved_name(path.name) and is_checkpoint(path),
    "postmortem": is_postmortem,
    "tensorboard": is_events,
    "report": is_report,
}


def recognises(path: Path) -> bool:
    """Whether ``path``, in a run directory or one of its folders, is this program's file."""
    return (FILES.get(path.name) or FOLDERS.get(path.parent.name, lambda path: False))(path)


def is_saved_name(name: str) -> bool:
    """Whether ``name`` is that of a checkpoint, or of one that was set aside."""
    aside = ASIDE.fullmatch(name)
    return CHECKPOINT.fullmatch(aside["name"] if aside else name) is not None


def set_aside(path: Path) -> str:
    """Rename the file ``path`` to a free name that ends in ".aside", and return that name. Raises OSError."""
    names = (f"{path.name}.aside{f'-{number}' * (number > 1)}" for number in count(1))
    name = next(name for name in names if not path.with_name(name).exists())
    os.replace(path, path.with_name(name))
    return name


def is_leftover(path: Path) -> bool:
    """Whether ``path`` is an unfinished file, left by a run that was killed while writing it."""
    part = PART.fullmatch(path.name)
    if not part or kind(path) != "a file":
        return False
    name, folder = part["name"], path.parent.name
    patterns = {"postmortem": r"\d+\.(txt|json)", "report": r"report\.html|[\w-]+\.(svg|png)"}
    may_be_in_it = re.fullmatch(patterns.get(folder, r"(?!)"), name) is not None
    return name in FILES or may_be_in_it or (folder == "checkpoints" and is_saved_name(name))


def foreign_entries(directory: Path) -> list[str]:
    """Return the entries of ``directory`` (a folder's as "report/notes.txt") that no run has written."""
    found = []
    for path in sorted(directory.iterdir()):
        if path.name in FOLDERS and is_real_directory(path):
            inside = [each for each in sorted(path.iterdir()) if not (FOLDERS[path.name](each) or is_leftover(each))]
            found += [f"{path.name}/{each.name}" for each in inside]
        elif not (path.name in FILES and FILES[path.name](path)) and not is_leftover(path):
            found.append(path.name)
    return found


def remove_folder(directory: Path, name: str) -> None:
    """Remove this program's files in the folder ``name`` of a run directory, and then the folder if it is empty."""
    folder = directory / name
    if is_real_directory(folder):
        for path in list(filter(FOLDERS[name], folder.iterdir())):  # list first: the page identifies its figures
            path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
