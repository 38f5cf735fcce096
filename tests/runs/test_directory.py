"""The run directory: what it refuses, what it replaces, and what it never touches."""

import os
import shutil
import subprocess

import h5py
import numpy as np
import pytest

from distlenet.config import Config
from distlenet.errors import CheckpointError, NewerFormatError, RunDirectoryError
from distlenet.runs.checkpoint_file import lay_out, read_checkpoint
from distlenet.runs.choice import find_checkpoint, newest_checkpoint
from distlenet.runs.directory import LockedDirectory, RunDirectory


@pytest.fixture
def lock(tmp_path):
    made = []

    def make(name: str = "run") -> LockedDirectory:
        made.append(LockedDirectory(tmp_path / name))
        return made[-1]

    yield make
    for each in made:
        each.close()


def fill(path, mark=True):
    """Make what a run leaves, as far as it is recognised by what it holds."""
    (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    for name in ("last.h5", "epoch-0010.h5"):
        (path / "checkpoints" / name).write_bytes(lay_out({"theta": np.zeros(3, np.float32)}, "{}"))
    (path / "config.toml").write_text(Config().to_toml())
    (path / "journal.jsonl").write_text('{"kind": "start", "steps": 0}\n')
    (path / "summary.json").write_text('{\n  "status": "complete",\n  "theta_sha256": "ab"\n}\n')
    if mark:
        (path / "lock").write_text("process 1 on another host")


def test_new(lock, tmp_path):
    lock("a/b/c").start()
    assert sorted(path.name for path in (tmp_path / "a/b/c").iterdir()) == ["checkpoints", "lock"]


def test_a_run_is_not_replaced_by_accident(lock, tmp_path):
    fill(tmp_path / "run")
    with pytest.raises(RunDirectoryError, match=r"already holds a run: resume it with --resume auto"):
        lock().start()
    assert "complete" in (tmp_path / "run/summary.json").read_text()
    assert (tmp_path / "run/checkpoints/last.h5").exists()


def test_overwrite_removes_the_run_and_nothing_else(lock, tmp_path):
    run = tmp_path / "run"
    fill(run)
    (run / "notes.txt").write_text("mine")
    (run / "mine").mkdir()
    (run / "mine/journal.jsonl").write_text("mine")
    (run / "checkpoints/resnet.h5").write_text("mine")
    for name in ("last.h5.aside", "epoch-0001.h5.aside-2"):
        shutil.copy(run / "checkpoints/last.h5", run / "checkpoints" / name)
    lock().start(overwrite=True)
    left = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    assert left == ["checkpoints/resnet.h5", "lock", "mine/journal.jsonl", "notes.txt"]


def test_locked(lock, tmp_path):
    first = lock()
    with pytest.raises(RunDirectoryError, match=rf"is in use by another run \(process {os.getpid()} on "):
        lock()
    first.close()
    lock()


def test_a_lock_file_alone_is_not_a_lock(lock, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/lock").write_text("process 1 on another host, and a text longer than the next")
    lock().start()
    lines = (tmp_path / "run/lock").read_text().splitlines()
    assert lines[:2] == [f"process {os.getpid()} on {os.uname().nodename}", "distlenet run directory"]


def test_the_lock_is_not_inherited(lock):
    held = lock()
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        held.close()
        lock()
        child.kill()


@pytest.mark.parametrize("blocker", ["run", "run/checkpoints", "parent"])
def test_a_file_in_the_way(lock, tmp_path, blocker):
    # as root, too: permissions do not stop root, a file in the way does
    name = "parent/run" if blocker == "parent" else "run"
    (tmp_path / blocker).parent.mkdir(exist_ok=True)
    (tmp_path / blocker).write_text("a file")
    with pytest.raises(RunDirectoryError, match=r"cannot write the run directory|is not a run directory"):
        lock(name)
    assert (tmp_path / blocker).read_text() == "a file"


def test_a_file_that_cannot_be_written(lock, tmp_path):
    held = lock()
    (tmp_path / "run/summary.json").mkdir()
    with pytest.raises(RunDirectoryError, match="summary.json"):
        held.write("summary.json", "{}")


def test_find_checkpoint(trained, tmp_path):
    assert find_checkpoint(trained).path.name == "best.h5"
    assert find_checkpoint(trained / "checkpoints/last.h5").path.name == "last.h5"
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        find_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="is not a run directory"):
        find_checkpoint(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="holds no checkpoint to resume from"):
        find_checkpoint(tmp_path)


def test_the_best_parameters_are_those_of_best(trained, tmp_path):
    # best.h5 is damaged, or of a newer format, or gone
    shutil.copytree(trained / "checkpoints", tmp_path / "checkpoints")
    best, told = tmp_path / "checkpoints/best.h5", []
    expected, image = read_checkpoint(best), best.read_bytes()
    assert find_checkpoint(tmp_path, told.append).theta.tobytes() == expected.theta.tobytes()
    assert told == []
    for content, sentences in ((image[:-1], 2), (None, 1)):
        best.unlink()
        if content:
            best.write_bytes(content)
        found = find_checkpoint(tmp_path, told.append)
        assert found.path.name == "last.h5"
        assert found.build_net().theta.tobytes() == expected.build_net().theta.tobytes()
        assert found.position == expected.position
        assert len(found.progress.history) == len(expected.progress.history)
        assert len(told) == sentences
        told.clear()
    best.write_bytes(image)
    with h5py.File(best, "r+") as file:
        file.attrs["format"] = 3
    with pytest.raises(NewerFormatError, match=r"best.h5 has checkpoint format 3"):
        find_checkpoint(tmp_path)


def test_the_newest_good_checkpoint(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    last, first = run / "checkpoints/last.h5", run / "checkpoints/epoch-0001.h5"
    first.write_bytes(last.read_bytes())
    last.write_bytes(last.read_bytes()[:-1000])
    checkpoint, damaged = newest_checkpoint(RunDirectory(run))
    assert checkpoint.path == first
    assert len(damaged) == 1 and "last.h5" in str(damaged[0])
