"""Resuming from any checkpoint, on any number of ranks, to the same bits, with every difference reported."""

import dataclasses
import hashlib
import json
import os
import shutil
import sys

import drawn
import h5py
import mpi_jobs
import numpy as np
import pytest
import sessions
from checkpoints import change, no_room, put, rewrite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distlenet.config import Config
from distlenet.data.sources.drawing import draw_digits
from distlenet.numerics import numerics
from distlenet.recipes import RECIPES
from distlenet.runs import checkpoint_file, experiment
from distlenet.runs.checkpoint_file import read_checkpoint

FLAGS = {"epochs": 3, "batch_size": 96, "shards": 6, "lr": 0.03, "train_sample": 50, "seed": 5}
STEPS = 7  # of an epoch: 642 images, shards of 107, leaves of 16 and a last one of 11
ALL = 3 * STEPS


@pytest.fixture(scope="module")
def whole(tmp_path_factory, digits):
    """The run that nobody interrupts."""
    session = sessions.train_run(digits, tmp_path_factory.mktemp("resume") / "whole", flags=FLAGS, log_every=1).expect()
    assert sessions.results(session.run)["steps"] == ALL
    return session.run


def check_same_run(run, whole):
    """The same end, the same history, the same journal."""
    assert sessions.results(run) == sessions.results(whole)
    assert sessions.journal(run) == sessions.journal(whole)  # no gap, no line twice
    last, expected = (read_checkpoint(path / "checkpoints/last.h5") for path in (run, whole))
    assert bits(last) == bits(expected)
    assert last.progress.best_epoch == expected.progress.best_epoch
    assert last.position == expected.position
    assert untimed(last.progress.history) == untimed(expected.progress.history)
    best, expected = (read_checkpoint(path / "checkpoints/best.h5") for path in (run, whole))
    assert best.theta.tobytes() == expected.theta.tobytes()


def bits(checkpoint):
    return {name: vector.tobytes() for name, vector in checkpoint.now.vectors.items()}


def resume(digits, run, ranks=1, source="auto", act=lambda *_: None, **options):
    return sessions.train_run(digits, run, ranks, act, resume=str(source), log_every=1, **options)


def untimed(history):
    return list(map(sessions.timeless, history))


@pytest.mark.parametrize(
    "chain",
    [
        [(1, 3), (1, None)],
        [(1, 3), (3, 11), (2, None)],
        [(5, 9), (1, 12), (6, None)],
        [(2, STEPS), (3, None)],  # the signal comes in the evaluation after an epoch
        [(3, STEPS), (2, 2 * STEPS), (4, ALL), (1, None)],
        [(2, STEPS - 1), (1, None)],  # in the last step of an epoch: saved before its evaluation
        [(2, 1), (2, 3), (2, 5), (3, None)],
        [(1, ALL - 1), (6, None)],  # in the last step of all
    ],
    ids=str,
)
def test_a_chain_of_stops(digits, tmp_path, whole, chain):
    sessions_of = sessions.parts(digits, tmp_path / "run", FLAGS, *chain)
    check_same_run(tmp_path / "run", whole)
    for before, after in zip(chain, sessions_of[1:], strict=False):
        # a signal between two steps takes effect in the next one, during an evaluation at once
        step = before[1] if before[1] % STEPS == 0 else before[1] + 1
        epoch, step = (step // STEPS, step % STEPS) if step % STEPS else (step // STEPS - 1, STEPS)
        where = f"the evaluation of epoch {epoch + 1}" if step == STEPS else f"epoch {epoch + 1}, step {step + 1}"
        assert any(text.endswith(f"last.h5: {where}") for text in after.notices), after.notices


@settings(derandomize=True, deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 8)), min_size=1, max_size=4), st.integers(1, 6))
def test_any_chain(digits, tmp_path_factory, whole, drawn, ranks):
    # each part does some steps more than the one before
    chain, step = [], 0
    for part, more in drawn:
        step += more + 1
        if step <= ALL:
            chain.append((part, step))
    run = tmp_path_factory.mktemp("chain") / "run"
    sessions.parts(digits, run, FLAGS, *chain, (ranks, None))
    check_same_run(run, whole)


@pytest.fixture(scope="module")
def kept(tmp_path_factory, digits):
    """A complete run that has kept a checkpoint of every second step, and of every epoch."""
    session = sessions.train_run(
        digits,
        tmp_path_factory.mktemp("resume") / "kept",
        2,
        flags=FLAGS,
        save_steps=2,
        keep_newest=99,
        keep_every=1,
        log_every=1,
    ).expect()
    return session.run


def test_saving_changes_nothing(kept, whole):
    check_same_run(kept, whole)


def test_from_every_checkpoint(digits, tmp_path, whole, kept):
    files = sorted((kept / "checkpoints").iterdir())
    positions = [read_checkpoint(path).position for path in files]
    # after the 14th step: before the evaluation, and after it
    assert set(positions) == {(step, step // STEPS) for step in (2, 4, 6, 7, 8, 10, 12, 14, 16, 18, 20, 21)} | {(14, 1)}
    for place, path in enumerate(files):
        run = tmp_path / str(place)
        resume(digits, run, 1 + place % 6, path).expect()
        assert sessions.results(run) == sessions.results(whole), path.name
        assert sessions.journal(run) == sessions.journal(whole), path.name
        last, expected = (read_checkpoint(each / "checkpoints/last.h5") for each in (run, whole))
        assert untimed(last.progress.history) == untimed(expected.progress.history)
        best, expected = (read_checkpoint(each / "checkpoints/best.h5") for each in (run, whole))
        assert best.theta.tobytes() == expected.theta.tobytes(), path.name


@pytest.mark.parametrize("ranks", [1, 2])
def test_an_earlier_checkpoint_starts_a_run_of_its_own(digits, tmp_path, whole, kept, ranks):
    run, new = tmp_path / "run", tmp_path / "new"
    shutil.copytree(kept, run)
    folder = run / "checkpoints"
    shutil.copy(folder / "epoch-0001.h5", folder / "mine.h5")
    before = contents(run)
    for name in ("epoch-0001.h5", "last-1.h5", "mine.h5"):
        refused = resume(digits, run, ranks, folder / name).expect(2)
        assert f"{name} is not the newest checkpoint of {run}" in refused.error and "--run NEW" in refused.error
        assert contents(run) == before
    assert resume(digits, new, ranks, folder / "epoch-0001.h5").code == 0
    check_same_run(new, whole)
    assert contents(run) == before


@pytest.mark.parametrize("name", ["last.h5", "epoch-0003.h5", "mine.h5"])
def test_the_newest_checkpoint_by_its_name(digits, tmp_path, whole, kept, name):
    run = shutil.copytree(kept, tmp_path / "run")
    shutil.copy(run / "checkpoints/last.h5", run / "checkpoints/mine.h5")
    assert resume(digits, run, 2, run / "checkpoints" / name).code == 0
    check_same_run(run, whole)


@pytest.mark.parametrize("name", ["best.h5", "last-1.h5", "epoch-0002.h5", "epoch-0003.h5"])
def test_a_finished_run_has_a_last_checkpoint_whatever_it_is_resumed_from(digits, tmp_path, kept, name):
    # nothing is left to train: no save but that of the start makes last.h5 that of the checkpoint named
    target, checkpoint = tmp_path / "run", read_checkpoint(kept / "checkpoints" / name)
    flags = {"flags": {"epochs": checkpoint.position[1]}, "override": ("epochs",)}
    if checkpoint.progress.step:  # last-1.h5 may be within an epoch
        flags["flags"]["epochs"] += 1
    resume(digits, target, 1, checkpoint.path, **flags).expect()
    last, best = (read_checkpoint(target / "checkpoints" / each) for each in ("last.h5", "best.h5"))
    assert last.position == (flags["flags"]["epochs"] * STEPS, flags["flags"]["epochs"])
    assert sessions.results(target)["theta_sha256"] == hashlib.sha256(last.theta.tobytes()).hexdigest()
    assert best.position[1] == last.progress.best_epoch + 1
    assert best.averaged.tobytes() == last.best_theta.tobytes()


@pytest.mark.parametrize("name", ["last.h5", "epoch-0001.h5", "mine.h5"])
def test_a_source_is_never_removed_by_overwrite(digits, tmp_path, kept, name):
    run = shutil.copytree(kept, tmp_path / "run")
    if not (run / "checkpoints" / name).exists():
        shutil.copy(run / "checkpoints/epoch-0003.h5", run / "checkpoints" / name)
    (tmp_path / "link").symlink_to(run)
    before = contents(run)
    for folder in (run, tmp_path / "link"):
        resume(digits, run, 1, folder / "checkpoints" / name, overwrite=True).expect(2, name, "--overwrite")
        assert contents(run) == before


def test_a_disk_too_full_for_the_checkpoint_from_elsewhere(digits, tmp_path, kept, whole, monkeypatch):
    run, source, real = tmp_path / "run", str(kept / "checkpoints/epoch-0001.h5"), os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda old, new: (no_room if str(new).endswith(".h5") else real)(old, new))
        refused = sessions.train_run(digits, run, 1, resume=source)
    assert refused.code == 6 and "disk is full" in refused.error
    resume(digits, run, 1).expect(6, "name that checkpoint again")
    assert sessions.train_run(digits, run, 1, resume=source, log_every=1).code == 0
    check_same_run(run, whole)


def test_a_run_within_a_run_is_another_one(digits, tmp_path, kept):
    run = shutil.copytree(kept, tmp_path / "run")
    shutil.copytree(kept, run / "tune")
    before = contents(run)
    resume(digits, run, 1, run / "tune/checkpoints/last.h5").expect(6, "already holds a run")
    assert contents(run) == before


@pytest.mark.parametrize("source", ["auto", "a name"])
def test_a_name_that_no_disk_takes(digits, tmp_path, source):
    long = tmp_path / ("x" * 300)
    refused = resume(digits, long, 1, source if source == "auto" else long / "a.h5")
    assert refused.code in (5, 6) and "file name too long" in refused.error


def test_refusals_come_before_the_old_run_is_removed(digits, tmp_path, kept, stopped):
    # an optimizer and a network that the checkpoint does not fit, however much one insists
    run = shutil.copytree(kept, tmp_path / "run")
    for name, value in (("optimizer", "adam"), ("activation", "scaled-tanh"), ("pooling", "trainable")):
        old, new = contents(run), tmp_path / name
        asked = {"resume": str(stopped / "checkpoints/last.h5"), "flags": {name: value}, "override": (name,)}
        sessions.train_run(digits, run, 1, overwrite=True, **asked).expect(5)
        assert contents(run) == old
        assert sessions.train_run(digits, new, 1, **asked).code == 5
        assert not new.exists()


def test_nothing_is_made_for_a_run_that_is_refused(digits, other_size, tmp_path):
    for options, code in (
        ({"resume": "auto", "flags": {"shards": 3}}, 3),
        ({"resume": str(tmp_path / "run/checkpoints/last.h5")}, 5),
        ({"resume": str(tmp_path / "run/checkpoints/last.h5"), "overwrite": True}, 5),
    ):
        assert sessions.train_run(digits, tmp_path / "run", 1, **options).code == code
        assert not (tmp_path / "run").exists()


def test_a_complete_run_has_nothing_left_to_do(digits, tmp_path, whole):
    run = shutil.copytree(whole, tmp_path / "run")
    assert resume(digits, run, 3).code == 0
    check_same_run(run, whole)


def test_from_a_killed_run(digits, tmp_path, whole):
    # killed in step 12: the last checkpoint is that of step 10, the journal is ahead of it and its last line torn
    run = tmp_path / "run"
    assert sessions.train_run(digits, run, 2, sessions.fail_at(12), flags=FLAGS, save_steps=5, log_every=1).code == 3
    with (run / "journal.jsonl").open("a") as file:
        file.write('{"kind": "step", "steps": 13, "lo')
    done = resume(digits, run, 3)
    assert any("epoch 2, step 4" in text for text in done.notices)
    check_same_run(run, whole)


def test_resume_without_flags_takes_the_run_s_own_settings(digits, tmp_path):
    run, flags = tmp_path / "run", {"epochs": 2, "batch_size": 64}
    sessions.train_run(digits, run, act=sessions.stop_after(3), recipe="fast", flags=flags).expect(130)
    again = resume(digits, run, 2).expect()
    assert read_checkpoint(run / "checkpoints/last.h5").config == Config(**{**RECIPES["fast"], **flags})
    assert not [text for text in again.notices if " is now " in text]


MATHEMATICAL = {
    "epochs": 4,
    "batch_size": 48,
    "shards": 3,
    "seed": 6,
    "numerics": "portable",
    "validation": 100,
    "lr": 0.02,
    "momentum": 0.8,
    "label_smoothing": 0.1,
    "weight_decay": 0.1,
    "clip": 0.5,
    "schedule": "cosine",
    "warmup": 0.3,
    "decay": 0.1,
    "rotate": 1.0,
    "shift": 0.5,
    "zoom": 0.05,
    "elastic": 0.5,
    "disturb": 0.5,
    "average": 0.9,
    "activation": "tanh",
    "pooling": "max",
    "optimizer": "adam",
    "init": "glorot",
    "sigma": 0.2,
    "beta1": 0.5,
    "beta2": 0.9,
    "rho": 0.5,
    "epsilon": 1e-3,
    "rubbish": 5.0,
    "mu": 0.1,
    "step_limit": 0.05,
    "curvature_samples": 100,
    "on_divergence": "stop",
    "max_heals": 1,
}


def test_each_setting_is_here():
    watching = {field.name for field in dataclasses.fields(Config) if not field.metadata.get("math", True)}
    assert watching == {"train_sample", "test_curve", "memory_limit"}
    assert {field.name for field in dataclasses.fields(Config)} - watching - {"model", "augmentation"} == set(
        MATHEMATICAL
    )


@pytest.fixture
def stopped(digits, tmp_path):
    """A run stopped in the middle of its second epoch, with one checkpoint before."""
    run = tmp_path / "stopped"
    assert sessions.train_run(digits, run, 2, sessions.stop_after(9), flags=FLAGS, log_every=1).code == 130
    return run


def contents(run):
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def test_what_changes_the_mathematics_is_refused(digits, stopped):
    before = contents(stopped)
    for place, (name, value) in enumerate(MATHEMATICAL.items()):
        done = resume(digits, stopped, 1 + place % 2, flags={name: value})
        assert done.code == 3, name
        assert f"{name} = {FLAGS.get(name, Config().to_dict()[name])!r}, now it is {value!r}" in done.error
        assert f"--override {name}" in done.error
    assert contents(stopped) == before


def test_recipes_and_files_are_compared_too(digits, stopped, tmp_path):
    resume(digits, stopped, recipe="fast").expect(3)
    (tmp_path / "a.toml").write_text("lr = 0.5\n")
    done = resume(digits, stopped, config_file=str(tmp_path / "a.toml"))
    assert "lr = 0.03, now it is 0.5" in done.error


def test_overridden_by_name(digits, stopped):
    done = resume(digits, stopped, 2, flags={"lr": 0.01}, override=("lr",)).expect()
    assert "lr was 0.03, is now 0.01" in done.notices
    # the next resume knows the new settings
    again = resume(digits, stopped).expect()
    assert not [text for text in again.notices if " is now " in text]
    # an override names one setting, not all
    resume(digits, stopped, flags={"lr": 0.1, "seed": 9}, override=("lr",)).expect(3, "--override seed")


def test_more_epochs(digits, stopped, tmp_path):
    done = resume(digits, stopped, 3, flags={"epochs": 4}, override=("epochs",)).expect()
    assert sessions.results(stopped)["epochs"] == 4
    assert "epochs was 3, is now 4" in done.notices


def test_what_does_not_change_the_mathematics_passes(digits, stopped, whole):
    done = resume(digits, stopped, 2, flags={"train_sample": 70, "test_curve": True}).expect()
    assert {"train_sample was 50, is now 70", "test_curve was False, is now True"} <= set(done.notices)
    assert sessions.results(stopped) == sessions.results(whole)


def test_another_number_of_shards_that_cannot_resume(digits, stopped):
    # fewer shards than ranks is refused as for a new run
    resume(digits, stopped, 7).expect(7)


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_changed_dataset_is_refused(digits, stopped, tmp_path, ranks):
    # one label of one test image
    images, labels = draw_digits(700, seed=1)
    test_images, test_labels = draw_digits(1350, seed=2)
    test_labels[1234] = (test_labels[1234] + 1) % 10
    other = tmp_path / "other.h5"
    drawn.write(other, (images, labels), (test_images, test_labels))
    before = contents(stopped)
    resume(other, stopped, ranks).expect(4, "fingerprint")
    assert contents(stopped) == before


@pytest.mark.parametrize("name", ["pixel_mean", "pixel_std"])
def test_a_dataset_with_other_statistics_is_refused(digits, stopped, tmp_path, name):
    # no part of the fingerprint, but they decide what the network sees
    other, before = tmp_path / "other.h5", contents(stopped)
    shutil.copy(digits, other)
    with h5py.File(other, "r+") as file:
        file.attrs[name] = np.nextafter(file.attrs[name], 1)
    for ranks in (1, 2):
        resume(other, stopped, ranks).expect(4, "mean", "attributes were changed")
    assert contents(stopped) == before


@pytest.mark.parametrize("resume", [None, "auto"])
def test_an_override_must_name_a_setting(digits, stopped, tmp_path, resume):
    for name, like in (("lrr", "'lr'"), ("zzz", "is not a setting"), ("batchsize", "'batch_size'")):
        done = sessions.train_run(digits, stopped if resume else tmp_path / "new", resume=resume, override=("lr", name))
        done.expect(3, name, like, "--override")
    assert not (tmp_path / "new").exists()


def test_the_same_dataset_elsewhere_passes(digits, stopped, whole, tmp_path):
    shutil.copy(digits, tmp_path / "copy.h5")
    assert resume(tmp_path / "copy.h5", stopped, 2).code == 0
    check_same_run(stopped, whole)


def test_into_another_directory(digits, stopped, whole, tmp_path):
    # the run continues elsewhere; its best checkpoint comes along, the old directory stays as it was
    run, before = tmp_path / "elsewhere", contents(stopped)
    resume(digits, run, 3, stopped / "checkpoints/last.h5").expect()
    assert sessions.results(run) == sessions.results(whole)
    assert sessions.journal(run) == sessions.journal(whole)  # including the earlier part
    assert contents(stopped) == before
    best = read_checkpoint(run / "checkpoints/best.h5")
    assert best.theta.tobytes() == read_checkpoint(whole / "checkpoints/best.h5").theta.tobytes()
    # twice is refused: it holds a run by now, which would be mixed with the other
    after = contents(run)
    resume(digits, run, 2, stopped / "checkpoints/last.h5").expect(6, "already holds a run")
    assert contents(run) == after
    resume(digits, run, 1, stopped / "checkpoints/last.h5", overwrite=True).expect()
    assert sessions.results(run) == sessions.results(whole)


def test_into_another_directory_without_the_old_journal(digits, kept, whole, tmp_path):
    # the checkpoint alone was copied: it knows of every epoch before it, not of their steps
    alone = tmp_path / "somewhere/checkpoints/last.h5"
    alone.parent.mkdir(parents=True)
    shutil.copy(
        next(path for path in (kept / "checkpoints").iterdir() if read_checkpoint(path).position == (16, 2)), alone
    )
    resume(digits, tmp_path / "run", 2, alone).expect()
    assert sessions.journal(tmp_path / "run") == [
        line for line in sessions.journal(whole) if line["kind"] == "epoch" or line["steps"] > 16
    ]
    # next to the journal of another run, which does not count
    journal = alone.parent.parent / "journal.jsonl"
    other = sessions.lines(whole)
    for line in other:
        if line["kind"] == "epoch":
            line["running"]["loss"] += 1
    journal.write_text("".join(json.dumps(line) + "\n" for line in other))
    assert resume(digits, tmp_path / "next", 1, alone).code == 0
    assert sessions.journal(tmp_path / "next") == sessions.journal(tmp_path / "run")


def test_into_another_directory_and_killed_at_once(digits, stopped, whole, tmp_path):
    # the checkpoint has come along: the next resume needs neither the old directory nor its settings
    run = tmp_path / "elsewhere"
    assert sessions.train_run(digits, run, 2, sessions.fail_at(), resume=str(stopped / "checkpoints/last.h5")).code == 3
    shutil.rmtree(stopped)
    done = resume(digits, run, 3)
    assert any("last.h5: epoch 2, step 4" in text for text in done.notices)
    assert sessions.results(run) == sessions.results(whole)


def test_best_does_not_come_from_the_future(digits, kept, tmp_path):
    # of a run that resumes from its first epoch, a best checkpoint of a later one is not a part
    assert read_checkpoint(kept / "checkpoints/best.h5").progress.epoch > 1
    run = tmp_path / "elsewhere"
    assert (
        sessions.train_run(digits, run, 2, sessions.fail_at(), resume=str(kept / "checkpoints/epoch-0001.h5")).code == 3
    )
    first = read_checkpoint(kept / "checkpoints/epoch-0001.h5").theta.tobytes()
    found = {path.name: read_checkpoint(path).theta.tobytes() for path in (run / "checkpoints").iterdir()}
    assert found == {"last.h5": first, "best.h5": first}


def test_best_comes_along_even_if_nothing_better_follows(digits, tmp_path):
    # a rate that ruins the network: the best epoch is the first, of the old directory
    first, second = tmp_path / "first", tmp_path / "second"
    flags = {**FLAGS, "batch_size": 24, "schedule": "constant"}
    assert sessions.train_run(digits, first, 1, sessions.stop_after(30), flags=flags).code == 130
    ruin = {"flags": {"weight_decay": 30.0}, "override": ("weight_decay",)}
    resume(digits, second, 2, first / "checkpoints/last.h5", **ruin).expect()
    assert sessions.results(second)["evaluated"] == "best (epoch 1)"
    best = read_checkpoint(second / "checkpoints/best.h5")
    assert best.progress.best_epoch == 0
    assert best.theta.tobytes() == read_checkpoint(first / "checkpoints/best.h5").theta.tobytes()


def damage(path):
    """Flip one bit of the parameters."""
    with h5py.File(path) as file:
        place = file["theta"].id.get_offset() + 4 * 6000 + 2
    image = bytearray(path.read_bytes())
    image[place] ^= 0x40
    path.write_bytes(image)


@pytest.mark.parametrize("harm", ["flipped", "cut off", "empty"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_damaged_newest_checkpoint_is_skipped(digits, stopped, whole, ranks, harm):
    last = stopped / "checkpoints/last.h5"
    if harm == "flipped":
        damage(last)
    else:
        last.write_bytes(last.read_bytes()[: 4321 if harm == "cut off" else 0])
    done = resume(digits, stopped, ranks).expect()
    assert [text for text in done.notices if str(last) in text and "skipped" in text]
    assert [text for text in done.notices if text.startswith("resuming from") and "epoch 2, step 1" in text]
    assert last.with_name("last.h5.aside").exists()  # out of the way, where it would age a good one out
    check_same_run(stopped, whole)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_newer_format_is_not_skipped(digits, stopped, whole, ranks):
    # it is whole, and newer than all that this version can read: to go back behind it silently would lose work
    last = stopped / "checkpoints/last.h5"
    newer = checkpoint_file.FORMAT + 1
    rewrite(last, last.read_bytes(), read_checkpoint(last).facts(), format=newer)
    before = contents(stopped)
    for source in ("auto", str(last)):
        says = f"last.h5 has checkpoint format {newer}, this version reads format {newer - 1}"
        sessions.train_run(digits, stopped, ranks, resume=source).expect(5, says)
    assert contents(stopped) == before
    # insisted upon, by its name: the older one, in a directory of its own
    older, run = str(stopped / "checkpoints/last-1.h5"), stopped / "../new"
    sessions.train_run(digits, stopped, ranks, resume=older).expect(2, "--run NEW")
    assert sessions.train_run(digits, run, ranks, resume=older, log_every=1).code == 0
    assert contents(stopped) == before
    check_same_run(run, whole)


def test_skipped_checkpoints_are_reported_even_when_quiet(digits, stopped, distlenet):
    damage(stopped / "checkpoints/last.h5")
    with (stopped / "journal.jsonl").open("a") as journal:
        journal.write("torn\n[]\n")
    done = distlenet("train", "--data", digits, "--run", stopped, "--resume", "auto", "--display", "quiet").expect()
    for words in (": skipped", "renamed: last.h5.aside", "damaged line"):
        warnings = [line for line in done.output.splitlines() if words in line]
        assert len(warnings) == 1, done.output
        assert " warning " in warnings[0]


def test_when_all_are_damaged(digits, stopped):
    before = {path: path.stat().st_size for path in (stopped / "checkpoints").iterdir()}
    for path in before:
        damage(path)
    done = resume(digits, stopped, 2).expect(5, "holds no checkpoint to resume from")
    for path in before:
        assert path.name in done.error
        assert path.exists()  # whoever wants to save what can be saved still can


@pytest.fixture
def best_first(digits, tmp_path):
    """A complete run whose best epoch is its first, by a rate that ruins it later; returns it and a kept epoch."""
    run = tmp_path / "best-first"
    flags = {**FLAGS, "batch_size": 24, "schedule": "constant"}
    assert sessions.train_run(digits, run, 1, flags={**flags, "epochs": 1}, keep_every=1).code == 0
    ruin = {"flags": {"weight_decay": 30.0, "epochs": 4}, "override": ("weight_decay", "epochs")}
    assert resume(digits, run, 1, **ruin).code == 0
    assert read_checkpoint(run / "checkpoints/last.h5").progress.best_epoch == 0
    return run


def test_the_final_test_is_that_of_the_best_epoch(digits, best_first, distlenet):
    summary = sessions.summary(best_first)
    assert summary["evaluated"] == "best (epoch 1)"
    losses = {}
    for name in ("best.h5", "last.h5"):
        done = distlenet("evaluate", best_first / "checkpoints" / name, "--data", digits, "--json")
        losses[name] = json.loads(done.stdout)["loss"]
    assert summary["test_loss"] == losses["best.h5"] != losses["last.h5"]


@pytest.mark.parametrize("resumed", [False, True])
def test_a_damaged_best_that_nothing_can_make_whole(digits, best_first, distlenet, resumed):
    (best_first / "checkpoints/epoch-0001.h5").unlink()
    best, last = best_first / "checkpoints/best.h5", best_first / "checkpoints/last.h5"
    figures = distlenet("evaluate", best_first, "--data", digits, "--json")
    assert figures.stderr == ""
    digest = json.loads(distlenet("inspect", best, "--json").stdout)["theta_sha256"]
    damage(best)
    if resumed:
        done = resume(digits, best_first, 1)
        assert any(
            "best.h5 is missing: only last.h5 holds" in text and "best epoch, 1" in text for text in done.notices
        )
        assert not best.exists()
    for words in (["evaluate", best_first, "--data", digits], ["inspect", best_first]):
        again = distlenet(*words, "--json").expect()
        assert resumed or "best.h5 is damaged" in again.stderr
        assert f"has no good best.h5: the parameters of its best epoch are taken from {last}" in again.stderr
        found = json.loads(again.stdout)
        if words[0] == "evaluate":
            assert found["loss"] == json.loads(figures.stdout)["loss"]
        else:
            assert found["theta_sha256"] == digest
            assert found["position"].startswith("1 epochs and 0 steps")


def test_a_damaged_path_is_refused(digits, stopped):
    damage(stopped / "checkpoints/last.h5")
    resume(digits, stopped, 2, stopped / "checkpoints/last.h5").expect(5, "last.h5")


def test_a_directory_with_nothing_yet(digits, tmp_path, whole):
    done = resume(digits, tmp_path / "run", 2, flags=FLAGS).expect()
    assert "nothing to resume from yet: the run starts from the beginning" in done.notices
    check_same_run(tmp_path / "run", whole)


def test_killed_before_the_first_checkpoint(digits, tmp_path, whole):
    # a journal, but no checkpoint: it starts from the beginning, and no line stands twice
    run = tmp_path / "run"
    assert sessions.train_run(digits, run, 2, sessions.fail_at(4), flags=FLAGS, log_every=1).code == 3
    kept = shutil.copytree(run, tmp_path / "kept")
    assert resume(digits, run, 2, flags=FLAGS).code == 0
    check_same_run(run, whole)
    # nor need its settings be given again
    done = resume(digits, kept, 3)
    assert "starts from the beginning, with the settings of its config.toml" in done.notices[0]
    check_same_run(kept, whole)
    # those that are given count: nothing has been trained that they could contradict
    shutil.rmtree(kept / "checkpoints")
    (kept / "summary.json").unlink()
    assert resume(digits, kept, flags={"epochs": 1}).code == 0
    assert sessions.results(kept)["epochs"] == 1


def test_other_numerics_are_reported(digits, stopped, monkeypatch):
    other = {**numerics(), "kernel": "Cray-1", "threads": 7}
    monkeypatch.setattr(experiment, "numerics", lambda name: other)
    monkeypatch.setattr(checkpoint_file, "numerics", lambda name: other)
    done = resume(digits, stopped, 2).expect()
    warnings = [text for text in done.notices if "the last bits may differ" in text]
    assert len(warnings) == 1
    assert f"kernel {numerics()['kernel']} (now Cray-1)" in warnings[0]
    assert "threads" in warnings[0] and "numpy" not in warnings[0]


def test_another_engine_is_reported(digits, stopped, monkeypatch):
    def forget(file, sums):  # the first engine wrote no revision
        meta = json.loads(file["meta"][()].tobytes())
        del meta["numerics"]["engine"]
        put("meta", np.frombuffer(json.dumps(meta).encode(), np.uint8))(file, sums)

    monkeypatch.setattr(experiment, "numerics", lambda name: {**numerics(), "engine": 2})
    change(stopped / "checkpoints/last.h5", forget)
    done = resume(digits, stopped, 2).expect()
    assert [text for text in done.notices if "engine 1 (now 2): from now on the last bits may differ" in text]


def test_like_numerics_are_not_mentioned(digits, stopped):
    done = resume(digits, stopped, 2)
    assert not [text for text in done.notices if "bits" in text]


def test_another_model_behind_the_same_settings(digits, stopped, tmp_path):
    # its checksums are right, its parameters are not this network's
    path = shutil.copy(stopped / "checkpoints/last.h5", tmp_path / "odd.h5")
    for name in ("theta", "optimizer/velocity"):
        change(path, lambda file, sums, name=name: put(name, file[name][:-1])(file, sums))
    resume(digits, tmp_path / "run", 2, path).expect(5, "odd.h5")


@pytest.mark.parametrize(
    "forged",
    [
        {"config": {"warp": 9}},
        {"config": {"lr": "fast"}},
        {"numerics": None},
        {"progress": {"step": 10**9, "steps": 10**9, "running": {}}},
        {"progress": {"history": [5]}},
    ],
    ids=str,
)
@pytest.mark.parametrize("auto", [False, True])
def test_what_makes_no_sense_is_refused_in_one_sentence(digits, stopped, forged, auto):
    # checksums are right; "auto" may pass over what makes no sense, but not settings that only a newer version has
    path = stopped / "checkpoints/last.h5"
    facts = read_checkpoint(path).facts()
    rewrite(path, path.read_bytes(), facts | {part: value and facts[part] | value for part, value in forged.items()})
    done = resume(digits, stopped, 2, "auto" if auto else path)
    if auto and "config" not in forged:
        assert done.code == 0
        assert [text for text in done.notices if "makes no sense" in text or "not a readable" in text]
    else:
        done.expect(5, "last.h5")


ARGUMENTS = [word for name, value in FLAGS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
PLAIN = ["--display", "plain", "--log-every", "1"]


def test_exit_codes_and_sentences(digits, other_size, stopped, distlenet, only_sentence):
    words = ["train", "--run", stopped, "--resume", "auto", *PLAIN, "--data"]
    only_sentence(distlenet(*words, digits, "--lr", "0.5"), 3, "lr = 0.03, now it is 0.5", "--override lr")
    only_sentence(distlenet(*words, other_size), 4, "fingerprint", "--data")


def test_a_chain_under_mpirun(any_mpi, digits, tmp_path, whole, distlenet):
    # 1 rank, stopped in mid-epoch, then 3 ranks, stopped in the evaluation, then 2 to the end
    run = tmp_path / "run"
    signalled = [str(mpi_jobs.JOBS / "signalled.py"), "0", "SIGTERM", "8"]
    words = ["train", "--data", str(digits), "--run", str(run), *PLAIN]
    done = mpi_jobs.run([any_mpi.python, *signalled, *words, *ARGUMENTS]).expect(143)
    done = mpi_jobs.run(any_mpi.command(3, "-c", IN_EVALUATION, *words, "--resume", "auto")).expect(130)
    assert "Traceback" not in done.output
    assert read_checkpoint(run / "checkpoints/last.h5").progress.step == STEPS
    done = distlenet(*words, "--resume", "auto", runtime=any_mpi, ranks=2).expect()
    if any_mpi.python == sys.executable:  # another Python may bring another numpy
        check_same_run(run, whole)
    else:
        alone = tmp_path / "alone"
        words[4] = str(alone)
        assert mpi_jobs.run([any_mpi.python, "-m", "distlenet", *words, *ARGUMENTS]).returncode == 0
        check_same_run(run, alone)


# the command line, but rank 2 gets a SIGINT while the second epoch is evaluated
IN_EVALUATION = """
import os, signal, sys
from distlenet.cli import main
from distlenet.parallel.connect import launched_rank
from distlenet.training import evaluation

evaluate = evaluation.evaluate

def interrupted(*arguments):
    if launched_rank() == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return evaluate(*arguments)

evaluation.evaluate = interrupted
sys.exit(main(sys.argv[1:]))
"""
