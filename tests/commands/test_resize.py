"""``distlenet resize``: what it refuses, and what it advises."""

import os

import pytest

from distlenet.config import Config
from distlenet.launching.door import Door
from distlenet.processes import identity
from distlenet.runs.lock import MARK

ELSEWHERE, ENDED = "00000000-1-1", f"{identity().rpartition('-')[0]}-1"


@pytest.fixture
def resize(distlenet, tmp_path):
    """``resize(ranks, job=..., door=...)``: the command, for a run directory whose lock has these notes."""

    def call(ranks, **notes):
        run = tmp_path / "run"
        run.mkdir()
        lines = [f"process {os.getpid()} on here", MARK, *(f"{name} {value}" for name, value in notes.items())]
        (run / "lock").write_text("\n".join(lines) + "\n")
        (run / "config.toml").write_text(Config(shards=4).to_toml())
        return distlenet("resize", run, ranks)

    return call


@pytest.mark.parametrize(
    ("notes", "code", "message"),
    [
        ({}, 6, "was not started by `distlenet launch`, so its number of ranks cannot change: if it is in progress"),
        ({"job": ENDED}, 6, "was not started by `distlenet launch`, so"),
        ({"job": ENDED, "door": "/nowhere"}, 6, "not in progress: resume it on 3 ranks with `distlenet launch -n 3 "),
        ({"job": ELSEWHERE, "door": "/nowhere"}, 7, "is on another host, or in another container: resize there"),
        ({"job": identity(), "door": "/nowhere"}, 7, "cannot reach the launcher of this run (No such file or dir"),
    ],
    ids=["no job", "no door", "ended", "elsewhere", "hangs"],
)
def test_a_run_that_cannot_change(resize, only_sentence, notes, code, message):
    only_sentence(resize(3, **notes), code, message)


def test_a_directory_without_a_run(distlenet, only_sentence, tmp_path):
    expected = "expected the --run of a training that `distlenet launch` has started"
    only_sentence(distlenet("resize", tmp_path / "none", 2), 6, f"there is no directory {tmp_path}/none: {expected}")
    only_sentence(distlenet("resize", tmp_path, 2), 6, f"{tmp_path} is not a run directory: {expected}")


def test_more_ranks_than_shards(resize, only_sentence):
    message = "its training set is cut into 4 shards, and each rank needs one: expected at most 4 ranks"
    only_sentence(resize(5, job=identity(), door="/nowhere"), 7, message)


@pytest.mark.parametrize("ranks", ["0", "two", "1.5"])
def test_a_number_that_makes_no_sense(distlenet, only_sentence, tmp_path, ranks):
    only_sentence(distlenet("resize", tmp_path, ranks), 2, f"'{ranks}', expected a whole number of at least 1")


def test_a_refusal_of_the_launcher(resize, only_sentence, tmp_path):
    door = Door(tmp_path, 2, "it was started with --no-return")
    try:
        only_sentence(resize(3, job=identity(), door=tmp_path), 7, "refuses: it was started with --no-return")
    finally:
        door.close()


def test_what_it_prints(resize, tmp_path):
    door = Door(tmp_path, 2, None)
    try:
        done = resize(3, job=identity(), door=tmp_path).expect(0)
        assert f"{tmp_path}/run changes to 3 ranks between two steps: " in done.stdout
        assert (tmp_path / "ranks").read_text() == "3 1"
    finally:
        door.close()
