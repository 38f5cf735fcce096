"""Files that are replaced as a whole: the order of flushes and renames."""

import os
from pathlib import Path

import pytest

from distlenet.atomic import replacing, write
from distlenet.errors import RunDirectoryError


@pytest.fixture
def calls(monkeypatch):
    """The flushes and renames, in order."""
    found: list[tuple] = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(descriptor):
        found.append(("flush", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))
        fsync(descriptor)

    def recorded_replace(source, target):
        found.append(("rename", Path(source), Path(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    return found


@pytest.mark.parametrize("linked", [False, True])
def test_a_power_cut_leaves_the_old_file_or_the_new_one(tmp_path, calls, linked):
    # first the content is flushed, then the file is renamed, then its directory is flushed
    target = path = tmp_path / "disk/file"
    path.parent.mkdir()
    path.write_text("old")
    if linked:
        path = tmp_path / "link"
        path.symlink_to(target)
    with replacing(path, follow_links=True) as temporary:
        temporary.write_text("new")
        assert calls == []
    assert temporary.parent == target.parent
    assert calls == [("flush", temporary), ("rename", temporary, target), ("flush", target.parent)]
    assert path.read_text() == target.read_text() == "new"


def test_a_body_that_fails(tmp_path, calls):
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted():
        with replacing(path) as temporary:
            temporary.write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert calls == []
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "old")]


def test_a_file_that_cannot_be_flushed_is_not_renamed(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"), replacing(path) as temporary:
        temporary.write_text("new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "old")]


@pytest.mark.parametrize("follow", [False, True])
def test_a_link_is_replaced_or_followed(tmp_path, follow):
    (tmp_path / "far").write_text("old")
    (tmp_path / "link").symlink_to("far")
    write(tmp_path / "link", "new", RunDirectoryError, follow_links=follow)
    assert (tmp_path / "link").is_symlink() == follow and (tmp_path / "link").read_text() == "new"
    assert (tmp_path / "far").read_text() == ("new" if follow else "old")


def test_a_failed_write_raises_one_sentence_of_the_callers_class(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"^cannot write .*: it is a directory, expected a file$"):
        write(tmp_path, b"new", RunDirectoryError)
