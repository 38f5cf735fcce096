"""The checkpoint keeper: which files it keeps, and that no failure of the disk takes the last good one."""

import json
import os
import resource
from pathlib import Path

import h5py
import numpy as np
import pytest
import sessions
from checkpoints import FACTS, new_state, no_room

from distlenet.config import Config
from distlenet.errors import CheckpointError
from distlenet.nn import build_net
from distlenet.runs.checkpoint_file import read_checkpoint
from distlenet.runs.choice import find_checkpoint
from distlenet.runs.keeper import CheckpointKeeper
from distlenet.training.events import CheckpointSaved, Diverged, EpochDone, Notice, SaveRequested, Score

FLAGS = {"epochs": 5, "batch_size": 240, "shards": 6, "lr": 0.03, "train_sample": 50}  # 3 steps an epoch


class Kept:
    """A keeper and what it does."""

    def __init__(self, folder: Path, **settings) -> None:
        self.state = new_state(optimizer="momentum")
        self.folder, self.events = folder, []
        self.keeper = CheckpointKeeper(folder, self.state, Config(), FACTS, self.events.append, **settings)

    def step(self) -> None:
        self.state.progress.steps += 1
        self.state.progress.step += 1
        self.state.progress.running.add(1.0, 1.0, 1.0)
        self.state.net.theta[:] = self.state.progress.steps
        self.keeper.on(SaveRequested("requested"))

    def epoch(self, best: bool = False) -> None:
        score, progress = Score(1.0, 0.5, 10), self.state.progress
        self.state.progress.steps += 1
        self.state.net.theta[:] = self.state.progress.steps
        if best:
            progress.best_epoch, progress.best_accuracy = progress.epoch, 0.5
            self.state.best_theta = self.state.net.theta.copy()
        self.keeper.on(EpochDone(progress.epoch, progress.steps, 0.1, score, score, score, None, 1.0, 1.0, 1.0, 0.0))
        progress.epoch, progress.step = progress.epoch + 1, 0
        self.keeper.on(SaveRequested("epoch"))

    def good(self) -> dict[str, int]:
        """Return the steps of every file that is a good checkpoint; what it holds must fit."""
        found = {}
        for path in sorted(self.folder.iterdir()):
            checkpoint = read_checkpoint(path)
            assert (checkpoint.theta == checkpoint.position[0]).all()
            found[path.name] = checkpoint.position[0]
        return found

    def told(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.mark.parametrize(
    ("newest", "names"),
    [
        (1, {"last.h5": 6}),
        (2, {"last.h5": 6, "last-1.h5": 5}),
        (4, {"last.h5": 6, "last-1.h5": 5, "last-2.h5": 4, "last-3.h5": 3}),
        (9, {"last.h5": 6, **{f"last-{age}.h5": 6 - age for age in range(1, 6)}}),
    ],
)
def test_the_newest(tmp_path, newest, names):
    kept = Kept(tmp_path, newest=newest)
    for _ in range(6):
        kept.step()
    assert kept.good() == names
    assert [(event.path.name, event.reason) for event in kept.told(CheckpointSaved)] == [("last.h5", "requested")] * 6


@pytest.mark.parametrize("newest", [1, 2, 3])
def test_fewer_than_before(tmp_path, newest):
    before = Kept(tmp_path, newest=6)
    for _ in range(6):
        before.step()
    for name in ("last-of-all.h5", "last-2024.h5"):  # not the keeper's
        (tmp_path / name).write_bytes((tmp_path / "last.h5").read_bytes())
    kept = Kept(tmp_path, newest=newest)
    kept.state.progress.steps = kept.state.progress.step = 6
    kept.step()
    names = ["last.h5", "last-1.h5", "last-2.h5"][:newest]
    assert kept.good() == {name: 7 - age for age, name in enumerate(names)} | {
        "last-of-all.h5": 6,
        "last-2024.h5": 6,
    }


def test_a_link_is_renamed_with_what_it_leads_to(tmp_path):
    kept = Kept(tmp_path / "checkpoints")
    kept.step()
    (tmp_path / "elsewhere").mkdir()
    last = tmp_path / "checkpoints/last.h5"
    last.symlink_to(last.rename(tmp_path / "elsewhere/last.h5"))
    kept.step()
    assert kept.good() == {"last.h5": 2, "last-1.h5": 1}
    kept.step()
    assert kept.good() == {"last.h5": 3, "last-1.h5": 2}


def test_best_and_every_second(tmp_path):
    kept = Kept(tmp_path, every=2)
    for best in (True, False, True, False, False):
        kept.epoch(best)
    assert kept.good() == {"best.h5": 3, "epoch-0002.h5": 2, "epoch-0004.h5": 4, "last.h5": 5, "last-1.h5": 4}
    reasons = [(event.path.name, event.reason) for event in kept.told(CheckpointSaved)]
    assert reasons[:3] == [("best.h5", "best"), ("last.h5", "last"), ("epoch-0002.h5", "every 2 epochs")]


def test_best_is_not_written_within_an_epoch(tmp_path):
    kept = Kept(tmp_path)
    kept.epoch(best=True)
    kept.step()
    kept.step()
    assert kept.good() == {"best.h5": 1, "last.h5": 3, "last-1.h5": 2}


class Disk:
    """The calls that write a file, of which every one from the ``fails_at``-th on fails until it is None."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails_at: int | None = None
        self.calls: list[str] = []
        for name in ("fsync", "replace"):
            monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))
        monkeypatch.setattr(Path, "open", self._counted("open", Path.open))

    def _counted(self, name: str, call):
        def counted(*arguments, **options):
            self._count(name)
            result = call(*arguments, **options)
            return self._File(self, result) if name == "open" else result

        return counted

    def _count(self, name: str) -> None:
        self.calls.append(name)
        if self.fails_at is not None and len(self.calls) > self.fails_at:
            no_room()

    class _File:
        def __init__(self, disk: "Disk", file) -> None:
            self.disk, self.file = disk, file

        def __enter__(self):
            return self

        def __exit__(self, *_) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            try:
                self.disk._count("write")
            except OSError:
                self.file.write(data[: len(data) // 2])
                raise
            self.file.write(data)

        def __getattr__(self, name: str):
            return getattr(self.file, name)

        def flush(self) -> None:
            self.disk._count("flush")
            self.file.flush()


@pytest.mark.parametrize(("newest", "times"), [(1, 1), (2, 1), (3, 1), (2, 4)])
def test_a_full_disk_at_every_call(tmp_path, monkeypatch, newest, times):
    disk = Disk(monkeypatch)
    probe = Kept(tmp_path / "probe", newest=newest)
    probe.epoch(best=True)
    disk.calls.clear()
    probe.epoch(best=True)
    calls = list(disk.calls)
    assert {"open", "write", "flush", "fsync", "replace"} == set(calls)
    for place in range(len(calls)):
        kept = Kept(tmp_path / str(place), newest=newest)
        kept.epoch(best=True)
        kept.epoch(best=True)
        assert not kept.told(Notice)
        for _ in range(times):  # a disk that stays full
            disk.calls.clear()
            disk.fails_at = place
            kept.epoch(best=True)
            disk.fails_at = None
            assert not list(kept.folder.glob(".*")), f"call {place}, {calls[place]}"
            assert max(kept.good().values()) >= 2, f"call {place}, {calls[place]}"
        lasts = {name: steps for name, steps in kept.good().items() if name.startswith("last")}
        assert max(lasts.values()) >= 2, f"call {place}, {calls[place]}"
        kept.epoch(best=True)  # with room again
        assert kept.good()["last.h5"] == kept.good()["best.h5"] == 3 + times
        texts = [event.text for event in kept.told(Notice)]
        if place < len(calls) - 1:  # the very last is the flush of the directory, which some file systems refuse
            assert texts
            assert all("the disk is full" in text and "earlier checkpoints stay" in text for text in texts)


def test_a_limit_on_the_size_of_files(tmp_path):
    # a disk that really takes no more: the write stops in the middle
    kept = Kept(tmp_path)
    kept.epoch(best=True)
    image = (tmp_path / "last.h5").read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(image) // 3, before[1]))
    try:
        kept.epoch(best=True)
        kept.step()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert kept.good() == {"best.h5": 1, "last.h5": 1}
    assert (tmp_path / "last.h5").read_bytes() == image
    assert kept.keeper.failing
    kept.step()
    assert kept.good() == {"best.h5": 2, "last.h5": 4, "last-1.h5": 1}  # the best one was owed
    assert not kept.keeper.failing


def refuse(monkeypatch, *names):
    """Let no file take one of these names in a replacement until the list that is returned is empty."""
    refused, real = list(names), os.replace

    def replace(source, target):
        if os.path.basename(target) in refused:
            no_room()
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    return refused


def test_a_failed_write_is_repeated_at_the_next_chance(tmp_path, monkeypatch):
    kept = Kept(tmp_path, every=1)
    kept.epoch(best=True)
    refused = refuse(monkeypatch, "best.h5", "epoch-0002.h5")
    kept.epoch(best=True)
    kept.step()
    assert kept.good() == {"best.h5": 1, "epoch-0001.h5": 1, "last.h5": 3, "last-1.h5": 2}
    assert kept.keeper.failing and len(kept.told(Notice)) == 2  # last.h5 succeeds in between
    refused.clear()
    kept.step()
    assert kept.good() == {"best.h5": 2, "epoch-0001.h5": 1, "epoch-0002.h5": 2, "last.h5": 4, "last-1.h5": 3}
    assert not kept.keeper.failing
    assert read_checkpoint(tmp_path / "best.h5").position == (2, 2)


def test_a_newer_best_is_no_longer_owed(tmp_path, monkeypatch):
    kept = Kept(tmp_path)
    refused = refuse(monkeypatch, "best.h5")
    kept.epoch(best=True)
    kept.epoch(best=True)
    refused.clear()
    kept.epoch()
    assert kept.good()["best.h5"] == 2


def test_checkpoints_that_a_run_went_back_from_are_not_owed(tmp_path, monkeypatch):
    kept = Kept(tmp_path)
    kept.epoch(best=True)
    refused = refuse(monkeypatch, "best.h5")
    kept.epoch(best=True)
    kept.keeper.on(Diverged(1, {}, "", {}, back_to=(1, 1)))
    refused.clear()
    kept.keeper.settle()
    assert kept.good()["best.h5"] == 1 and not kept.keeper.failing
    kept.keeper.on(Diverged(2, {}, "", {}, back_to=(0, 0)))
    assert "best.h5" not in kept.good()
    assert kept.good()["best.h5.aside"] == 1
    assert any("it is renamed best.h5.aside" in event.text for event in kept.told(Notice))


def test_the_last_is_written_at_the_end_if_there_is_room_by_then(tmp_path, monkeypatch):
    # that the best one could be written in between does not hide that the last one could not
    kept = Kept(tmp_path)
    refused = refuse(monkeypatch, "best.h5", "last.h5")
    kept.epoch(best=True)
    refused.remove("best.h5")
    kept.keeper.settle()
    assert kept.good() == {"best.h5": 1} and kept.keeper.failing
    refused.clear()
    kept.keeper.settle()
    assert kept.good() == {"best.h5": 1, "last.h5": 1} and not kept.keeper.failing


def test_a_state_that_was_not_to_be_saved_is_not_saved_at_the_end(tmp_path, monkeypatch):
    kept = Kept(tmp_path)
    kept.step()
    refused = refuse(monkeypatch, "last.h5")
    kept.step()
    refused.clear()
    kept.state.progress.steps += 1
    kept.keeper.settle()
    assert kept.good() == {"last-1.h5": 1} and kept.keeper.failing


def test_too_many_waiting_checkpoints_are_reported(tmp_path, monkeypatch):
    kept = Kept(tmp_path, every=1, most_owed=2**20)  # one checkpoint, not two: the best
    refused = refuse(monkeypatch, "best.h5", "epoch-0001.h5", "epoch-0002.h5")
    kept.epoch(best=True)
    kept.epoch(best=True)
    given_up = [event.text for event in kept.told(Notice) if "given up" in event.text]
    assert [text.split()[0] for text in given_up] == ["epoch-0001.h5", "epoch-0002.h5"] and "1 MiB" in given_up[0]
    refused.clear()
    kept.epoch()
    assert {
        "best.h5": 2,
        "epoch-0003.h5": 3,
        "last.h5": 3,
    }.items() <= kept.good().items()  # the best one always waits
    assert kept.keeper.failing  # they stay missing, which the exit code shows
    kept.keeper.on(Diverged(1, {}, "", {}, back_to=(0, 0)))
    assert not kept.keeper.failing  # they are made again


def test_a_run_whose_end_cannot_be_saved_says_so(digits, tmp_path, monkeypatch):
    assert "unsaved" not in sessions.summary(sessions.train_run(digits, tmp_path / "good", 1, flags=FLAGS).run)
    refuse(monkeypatch, "last.h5")
    done = sessions.train_run(digits, tmp_path / "run", 2, flags=FLAGS)
    assert done.codes[0] == 6
    assert sessions.summary(done.run)["unsaved"] is True


@pytest.mark.parametrize("attempts", [2, 10**9], ids=["for a while", "to the end"])
def test_a_disk_that_is_full_just_when_the_best_is_written(digits, tmp_path, monkeypatch, attempts):
    whole = sessions.train_run(digits, tmp_path / "whole", flags=FLAGS)
    best, steps, refused, real = read_checkpoint(whole.run / "checkpoints/best.h5").position[0], 0, 0, os.replace

    def act(rank, state, signals):
        nonlocal steps
        steps = state.progress.steps

    def replace(source, target):
        nonlocal refused
        if os.path.basename(target) == "best.h5" and steps >= best and refused < attempts:
            refused += 1
            no_room()
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    done = sessions.train_run(digits, tmp_path / "run", act=act, flags=FLAGS)
    assert sessions.results(done.run) == sessions.results(whole.run)
    expected = read_checkpoint(whole.run / "checkpoints/best.h5")
    found = find_checkpoint(done.run)  # what `evaluate RUN` measures
    assert found.theta.tobytes() == expected.theta.tobytes()
    assert refused >= 2
    if attempts == 2:
        assert done.code == 0
        assert read_checkpoint(done.run / "checkpoints/best.h5").theta.tobytes() == expected.theta.tobytes()
    else:
        assert done.codes[0] == 6
        assert sessions.summary(done.run)["unsaved"] is True


def test_a_run_on_a_disk_that_fails_for_a_while(digits, tmp_path, monkeypatch):
    # training continues and ends as if nothing had been, and the journal holds all
    whole = sessions.train_run(digits, tmp_path / "whole", flags=FLAGS, log_every=1)
    real = os.fsync

    def fsync(descriptor):
        if failing:
            no_room()
        real(descriptor)

    failing = False
    monkeypatch.setattr(os, "fsync", fsync)

    def act(rank, state, signals):
        nonlocal failing
        failing = 7 <= state.progress.steps < 10  # the end of the third epoch

    done = sessions.train_run(digits, tmp_path / "run", act=act, flags=FLAGS, log_every=1)
    assert (whole.code, done.code) == (0, 0)
    assert any("the disk is full" in text for text in done.notices)
    assert sessions.results(done.run) == sessions.results(whole.run)
    assert sessions.journal(done.run) == sessions.journal(whole.run)
    assert read_checkpoint(done.run / "checkpoints/last.h5").position == (15, 5)


def test_the_content_of_a_checkpoint(trained):
    path, parameters = trained / "checkpoints/last.h5", build_net(Config(), (1, 28, 28), 10).parameters
    with h5py.File(path) as file:
        names: dict[str, h5py.Dataset] = {}
        file.visititems(lambda name, item: names.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        shapes = {name: item.shape for name, item in names.items()}
        sums, meta = json.loads(file.attrs["sha256"]), json.loads(file["meta"][:].tobytes())
        assert file.attrs["format"] == 2
        flat = np.concatenate([file[f"parameters/{name}"][:].ravel() for name in parameters])
        assert flat.tobytes() == file["theta"][:].tobytes()  # layer order, weights then biases
        assert all(item.dtype == np.float32 for name, item in names.items() if name != "meta")
    assert set(sums) == set(names)  # a checksum of every array
    assert all(len(bytes.fromhex(text)) == 32 for text in sums.values())
    found = {name: shape for name, shape in shapes.items() if name.startswith("parameters/")}
    assert found == {f"parameters/{name}": parameter.shape for name, parameter in parameters.items()}
    for name in ("theta", "optimizer/velocity", "best/theta"):
        assert shapes[name] == (61706,)
    assert Config(**meta["config"]) == read_checkpoint(path).config
    assert len(meta["progress"]["history"]) == meta["progress"]["epoch"] == 2
    assert set(meta["numerics"]) >= {"numpy", "blas", "kernel", "threads"}
    assert len(meta["dataset"]["fingerprint"]) == 64


@pytest.mark.parametrize("name", ["theta", "optimizer/velocity", "best/theta", "parameters/C3/b", "meta"])
def test_every_array_is_checked(trained, tmp_path, name):
    path = tmp_path / "last.h5"
    image = bytearray((trained / "checkpoints/last.h5").read_bytes())
    with h5py.File(trained / "checkpoints/last.h5") as file:
        image[file[name].id.get_offset() + 5] ^= 1
    path.write_bytes(image)
    with pytest.raises(CheckpointError, match=f"/{name} does not match its SHA-256"):
        read_checkpoint(path)
