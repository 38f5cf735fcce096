"""Portable runs: the same bits on any number of ranks, on unlike kernels, after a stop; and what they write."""

import json

import mpi_jobs
import pytest
import sessions

from distlenet.numerics import difference, numerics

FLAGS = {"numerics": "portable", "epochs": 2, "batch_size": 48, "shards": 6}


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """A portable run of one process."""
    run = tmp_path_factory.mktemp("portable") / "whole"
    sessions.train_run(digits, run, recipe="fast", flags=FLAGS).expect()
    return run


def test_the_number_of_ranks_and_a_stop_do_not_matter(digits, whole, tmp_path):
    sessions.train_run(digits, tmp_path / "a", 3, sessions.stop_after(20), recipe="fast", flags=FLAGS).expect(130)
    sessions.train_run(digits, tmp_path / "a", 2, resume="auto").expect()
    assert sessions.results(tmp_path / "a") == sessions.results(whole)


def test_ranks_on_unlike_kernels(digits, whole, tmp_path, any_mpi):
    words = ["train", "--data", digits, "--run", tmp_path / "b", "--recipe", "fast", "--display", "plain"]
    words += [word for name, value in FLAGS.items() for word in (f"--{name.replace('_', '-')}", value)]
    command = any_mpi.command(2, str(mpi_jobs.ROOT / "tests/jobs/unlike_kernels.py"), *map(str, words))
    done = mpi_jobs.run(command).expect()
    assert sessions.results(tmp_path / "b") == sessions.results(whole)
    assert "compute with other numerics" not in done.output


def test_summary_and_checkpoint_hold_the_numerics(whole):
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["numerics"] == numerics("portable")
    assert summary["numerics"]["arithmetic"] == "portable 1"


def test_numerics_are_compared_as_far_as_they_matter():
    native, portable = numerics(), numerics("portable")
    assert difference(native, {**native, "kernel": "Z80"}) == f"kernel {native['kernel']} (now Z80)"
    assert difference({**native, "kernel": "Z80"}, portable) == "arithmetic native (now portable 1)"
    assert not difference({**portable, "kernel": "Z80", "engine": 1, "numpy": "1"}, portable)
    old = {key: value for key, value in native.items() if key not in ("arithmetic", "engine")}
    assert difference(old, native).startswith("engine 1 (now ")


def test_another_arithmetic_must_be_insisted_on(digits, whole, tmp_path):
    sessions.train_run(digits, tmp_path / "a", 1, sessions.stop_after(5), recipe="fast", flags=FLAGS).expect(130)
    changed = {"resume": "auto", "flags": {"numerics": "native"}}
    sessions.train_run(digits, tmp_path / "a", **changed).expect(3, "numerics = 'portable', now it is 'native'")
    done = sessions.train_run(digits, tmp_path / "a", **changed, override=("numerics",)).expect()
    assert any("numerics was 'portable', is now 'native'" in text for text in done.notices)
    assert any(
        "arithmetic portable 1 (now native): from now on the last bits may differ" in text for text in done.notices
    )
