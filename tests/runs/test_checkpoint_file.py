"""Checkpoint files: they are read as they were written, and no damaged byte goes unnoticed or crashes."""

import dataclasses
import shutil
from functools import partial

import h5py
import numpy as np
import pytest
from checkpoints import FACTS, new_state, no_room, rewrite

from distlenet.config import Config
from distlenet.errors import CheckpointError
from distlenet.runs.checkpoint_file import read_checkpoint, write_checkpoint
from distlenet.training.state import Running, Snapshot, TrainState

make_state = partial(new_state, optimizer="adam")


def filled_state() -> TrainState:
    """A state in which no two numbers are alike."""
    state, random = make_state(), np.random.default_rng(5)
    state.net.theta[:] = random.standard_normal(state.net.size)
    for vector in state.optimizer.state.values():
        vector[:] = random.standard_normal(state.net.size)
    state.progress = dataclasses.replace(
        state.progress,
        epoch=3,
        step=7,
        steps=101,
        running=Running(0.1 + 0.2, 41.0, 59.0),
        history=[{"epoch": 0, "step": 33, "train": {"loss": 1 / 3}}],
        best_accuracy=2 / 3,
        best_epoch=1,
    )
    return state


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "last.h5"
    write_checkpoint(path, filled_state(), Config(optimizer="adam"), FACTS)
    return path


def same(one: object, other: object) -> bool:
    arrays = [one.theta.tobytes(), *(one.optimizer[name].tobytes() for name in sorted(one.optimizer))]
    others = [other.theta.tobytes(), *(other.optimizer[name].tobytes() for name in sorted(other.optimizer))]
    return arrays == others and one.facts() == other.facts()


def test_round_trip(good):
    before, after = filled_state(), make_state()
    checkpoint = read_checkpoint(good)
    assert checkpoint.config == Config(optimizer="adam")
    assert checkpoint.dataset == FACTS
    checkpoint.restore(after)
    assert after.theta_sha256() == before.theta_sha256()
    for name, vector in before.optimizer.state.items():
        assert after.optimizer.state[name].tobytes() == vector.tobytes()
    assert after.progress == before.progress
    assert checkpoint.build_net().theta.tobytes() == before.net.theta.tobytes()


def test_others_can_read_it_by_name(good):
    state = filled_state()
    with h5py.File(good) as file:
        assert file["theta"].shape == (61706,)
        for name, parameter in state.net.parameters.items():
            assert (file["parameters"][name][:] == parameter.value).all()


def test_damaged_bytes(good, tmp_path):
    image, path = bytearray(good.read_bytes()), tmp_path / "damaged.h5"
    random, original = np.random.default_rng(1), read_checkpoint(good)
    # anywhere, and among the structures, which are a small part of the file
    structures = [place for place in range(len(image)) if place < 200 or image[place : place + 4] in (b"OHDR", b"FRHP")]
    places = [*random.integers(0, len(image), 30), *random.integers(0, 2000, 30), *random.choice(structures, 10)]
    refused = 0
    for place in map(int, places):
        damaged = bytearray(image)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            assert same(read_checkpoint(path), original), f"byte {place} changed something unnoticed"
        except CheckpointError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)
            refused += 1
    assert refused > 30


def test_cut_off(good, tmp_path):
    image, path = good.read_bytes(), tmp_path / "short.h5"
    for length in [0, 1, 7, 8, 100, len(image) - 1, *np.random.default_rng(2).integers(0, len(image), 20)]:
        path.write_bytes(image[: int(length)])
        with pytest.raises(CheckpointError, match="short.h5"):
            read_checkpoint(path)


def test_swapped_arrays(good, tmp_path):
    # each is whole, but not where it belongs
    path = tmp_path / "swapped.h5"
    shutil.copy(good, path)
    with h5py.File(path, "r+") as file:
        file.move("optimizer/mean", "optimizer/other")
        file.move("optimizer/square", "optimizer/mean")
        file.move("optimizer/other", "optimizer/square")
    with pytest.raises(CheckpointError, match="does not match its SHA-256"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["theta", "meta", "optimizer/mean", "parameters/C1/W"])
@pytest.mark.parametrize("change", ["missing", "link", "group", "huge", "external"])
def test_strange_contents(good, tmp_path, name, change):
    path = tmp_path / "strange.h5"
    shutil.copy(good, path)
    with h5py.File(path, "r+") as file:
        del file[name]
        if change == "link":
            file[name] = h5py.ExternalLink(str(good), "/theta")
        elif change == "group":
            file.create_group(name)
        elif change == "huge":
            file.create_dataset(name, (2**50,), "f4", chunks=(1024,))
        elif change == "external":
            file.create_dataset(name, (61706,), "f4", external=[(str(good), 0, 61706 * 4)])
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_other_format(good, tmp_path):
    path = tmp_path / "newer.h5"
    for version in (0, 3, 99):
        rewrite(path, good.read_bytes(), format=version)
        with pytest.raises(CheckpointError, match=f"checkpoint format {version}, this version reads format 2"):
            read_checkpoint(path)
    for nonsense in ("one", np.arange(3)):
        rewrite(path, good.read_bytes(), format=nonsense)
        with pytest.raises(CheckpointError):
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("dataset", {}),
        ("dataset", None),
        ("dataset", {**dataclasses.asdict(FACTS), "image_shape": [300_000, 300_000]}),
        ("dataset", {**dataclasses.asdict(FACTS), "image_shape": "ab"}),
        ("dataset", {**dataclasses.asdict(FACTS), "class_names": []}),
        ("config", {}),
        ("config", {"shards": "many"}),
        ("config", {"unknown": 1}),
        ("config", []),
        ("config", {"model": "resnet"}),
        ("progress", None),
        ("progress", {"epoch": -1}),
        ("progress", {"epoch": 0.5}),
        ("progress", {"step": 10**9}),
        ("progress", {"running": {}}),  # nothing to divide by
        ("progress", {"steps": 10**30}),
        ("progress", {"running": {"count": float("inf")}}),
        ("progress", {"running": {"count": 10**400}}),
        ("progress", {"running": {"count": "3"}}),
        ("progress", {"running": None}),
        ("progress", {"best_accuracy": 5}),
        ("progress", {"best_epoch": 0.5}),
        ("progress", {"best_epoch": None}),
        ("progress", {"history": {"a": 1}}),
        ("progress", {"history": [None]}),
        ("progress", {"history": [{"epoch": "first"}]}),
        ("progress", {"factor": 2}),
        ("progress", {"divergences": {}}),
        ("progress", {"watch": {}}),
        ("progress", {"watch": {"guessing": "2.3"}}),
        ("progress", {"unknown": 1}),
        ("good", {"epoch": -1}),
        ("code", 5),
        ("numerics", None),
        ("numerics", ["numpy"]),
        ("dataset", {**dataclasses.asdict(FACTS), "fingerprint": 5}),
    ],
)
def test_meta_that_makes_no_sense(good, tmp_path, part, value):
    path = tmp_path / "strange.h5"
    facts = read_checkpoint(good).facts()
    if part == "config" and value == {}:
        value = {"batch_size": 7}
    if part == "progress" and value:
        value = facts[part] | value
    rewrite(path, good.read_bytes(), {**facts, part: value})

    def use() -> None:
        checkpoint = read_checkpoint(path)
        checkpoint.build_net()
        checkpoint.restore(make_state())

    with pytest.raises(CheckpointError, match="strange.h5"):
        use()


def as_format_1(facts):
    """Return ``facts`` as older versions wrote them."""
    progress, good = facts["progress"], facts["good"]
    position = {name: progress[name] for name in ("epoch", "step", "steps", "running")}
    health = {name: progress[name] for name in ("factor", "divergences", "watch")}
    if good:
        health["good"] = {name: good[name] for name in ("epoch", "step", "steps", "running", "watch")}
        health["good"]["best"] = [good["best_accuracy"], good["best_epoch"]]
    best = {"accuracy": progress["best_accuracy"], "epoch": progress["best_epoch"]}
    rest = {name: facts[name] for name in ("config", "dataset", "numerics", "layers", "code")}
    return {"position": position, "best": best, "history": progress["history"], "health": health, **rest}


@pytest.mark.parametrize("good_elsewhere", [False, True])
def test_files_of_format_1_are_converted(tmp_path, good_elsewhere):
    path, state, after = tmp_path / "old.h5", filled_state(), make_state()
    state.progress.factor, state.progress.divergences = 0.5, [{"kind": "dead"}]
    state.progress.watch.add(2.0, 0.5)
    if not good_elsewhere:
        state.good = Snapshot.of(state)
    else:
        state.good.progress.best_epoch, state.good.progress.best_accuracy = 0, 0.25
    write_checkpoint(path, state, Config(optimizer="adam"), FACTS)
    expected = read_checkpoint(path)
    rewrite(path, path.read_bytes(), as_format_1(expected.facts()), format=1)
    found = read_checkpoint(path)
    assert same(found, expected) and (found.good is not None) == good_elsewhere
    found.restore(after)
    assert after.progress == state.progress and after.good.progress == state.good.progress


def test_older_files_hold_no_health(good, tmp_path):
    path, state = tmp_path / "older.h5", make_state()
    facts = as_format_1(read_checkpoint(good).facts())
    rewrite(path, good.read_bytes(), {name: facts[name] for name in facts.keys() - {"health", "code"}}, format=1)
    read_checkpoint(path).restore(state)
    assert state.progress == filled_state().progress and state.good.progress.steps == 101
    for part, value in [("position", {}), ("best", 5), ("health", {"factor": 1}), ("history", None)]:
        rewrite(path, good.read_bytes(), facts | {part: value}, format=1)
        with pytest.raises(CheckpointError, match="older.h5"):
            read_checkpoint(path)


def test_files_that_are_not_checkpoints(tmp_path, digits):
    (tmp_path / "text.h5").write_text("not HDF5 at all")
    for path, reason in [
        (tmp_path / "none.h5", "there is no checkpoint"),
        (tmp_path, "is a directory"),
        (tmp_path / "text.h5", "is not a readable checkpoint"),
        (digits, "is an HDF5 file, but not a checkpoint"),
        (tmp_path / "text.h5" / "last.h5", "checkpoint"),
    ]:
        with pytest.raises(CheckpointError, match=reason):
            read_checkpoint(path)


def test_another_model_or_optimizer(good, tmp_path):
    checkpoint = read_checkpoint(good)
    for state in (make_state(optimizer="sgd"), make_state(optimizer="nesterov"), make_state(pixels=24)):
        before = state.theta_sha256()
        with pytest.raises(CheckpointError, match="it belongs to another model or optimizer"):
            checkpoint.restore(state)
        assert state.theta_sha256() == before
    for name in ("best/theta", "optimizer/mean"):
        now = Snapshot(checkpoint.progress, checkpoint.now.vectors | {name: np.zeros(5, "f4")})
        with pytest.raises(CheckpointError, match="vectors of other lengths than its 61706 parameters"):
            dataclasses.replace(checkpoint, now=now).restore(make_state())
    path = tmp_path / "other.h5"
    write_checkpoint(path, make_state(pixels=24), Config(), FACTS)
    with pytest.raises(CheckpointError, match="parameters, expected 61706"):
        read_checkpoint(path).build_net()


def test_a_failed_write_leaves_the_old_file(good, tmp_path, monkeypatch):
    path = tmp_path / "last.h5"
    shutil.copy(good, path)
    monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(path, make_state(), Config(), FACTS)
    assert path.read_bytes() == good.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["last.h5"]


def test_the_same_state_gives_the_same_file(good, tmp_path):
    write_checkpoint(tmp_path / "again.h5", filled_state(), Config(optimizer="adam"), FACTS)
    assert same(read_checkpoint(tmp_path / "again.h5"), read_checkpoint(good))
