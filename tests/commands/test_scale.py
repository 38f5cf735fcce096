"""``distlenet scale`` on real ranks: table, files, own code, failures; and what it refuses before the first job."""

import csv
import json
import os
import sys
from pathlib import Path

import mpi_jobs
import pytest

SMALL = ["--batch-size", 64, "--shards", 4, "--recipe", "fast"]
NETWORK = """
import os

from distlenet.errors import ConfigError
from distlenet.nn import Dense, Flatten, Sequential


def build(input_shape, classes):
    if os.environ.get("OMPI_COMM_WORLD_SIZE") == "2" and os.path.exists("fail"):
        raise ConfigError("this network wants no company")
    return Sequential(input_shape, Flatten(), Dense(classes))
"""


def scale(*words: object, cwd: Path, **variables: str) -> mpi_jobs.Finished:
    """Run ``distlenet scale`` as a user starts it, on any number of cores."""
    command = [sys.executable, "-m", "distlenet", "scale", "--oversubscribe", *map(str, words)]
    return mpi_jobs.run(command, cwd=cwd, env=mpi_jobs.environment(**variables))


@pytest.fixture
def short(digits) -> list[object]:
    return ["train", "--data", digits, *SMALL]


def results_of(path: Path) -> dict:
    return json.loads((path / "scaling.json").read_text())


def test_strong_scaling_has_the_same_bits(openmpi, short, tmp_path):
    options = ["--steps", 5, "--warm-up", 2, "--rounds", 1]
    done = scale(*options, "--ranks", "1,2,3", "--", *short, "--run", "study", cwd=tmp_path).expect()
    assert "round 1/1, 2 ranks: " in done.stdout and "figures, table and CSV: study" in done.stdout
    results = results_of(tmp_path / "study")
    assert [row["ranks"] for row in results["rows"]] == [1, 2, 3]
    assert len({row["theta_sha256"] for row in results["rows"]}) == 1
    assert all(row["same_bits"] for row in results["rows"])
    assert results["rows"][0]["speedup"] == 1
    assert results["memory_kind"] == "PSS" and all(5 < row["memory_mib"] < 1000 for row in results["rows"])
    assert all(row["start_seconds"] > 0 for row in results["rows"])
    written = list(csv.DictReader((tmp_path / "study/scaling.csv").read_text().splitlines()))
    assert [row["ranks"] for row in written] == ["1", "2", "3"]
    assert (tmp_path / "study/scaling.md").read_text().count("\n| ") == 5

    again = scale(*options, "--ranks", "1,2", "--json", *short, "--run", "study", cwd=tmp_path).expect()
    assert again.stderr.count("from before") == 2
    assert json.loads(again.stdout)["rows"] == results["rows"]  # those of 3 ranks are kept


def test_the_bits_are_those_of_a_run(openmpi, short, tmp_path, distlenet, summary_of):
    """11 steps are an epoch of this dataset."""
    scale("--ranks", 2, "--steps", 9, "--warm-up", 2, "--rounds", 1, *short, "--run", "s", cwd=tmp_path).expect()
    run = tmp_path / "run"
    distlenet(*short, "--run", run, "--epochs", 4).expect()
    journal = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    assert next(line["steps"] for line in journal if line["kind"] == "epoch") == 11
    stopped = tmp_path / "stopped"
    distlenet(*short, "--run", stopped, "--keep-every", 1).expect()
    done = distlenet("inspect", stopped / "checkpoints/epoch-0001.h5", "--json").expect()
    assert results_of(tmp_path / "s")["rows"][0]["theta_sha256"] in done.stdout


def test_weak_scaling_gives_each_rank_its_own_batch(openmpi, short, tmp_path):
    options = ["--weak", "--ranks", "1,2", "--steps", 3, "--warm-up", 1, "--rounds", 2]
    done = scale(*options, *short, "--run", "study", cwd=tmp_path).expect()
    results = results_of(tmp_path / "study")
    assert all(row["same_bits"] for row in results["rows"])
    assert len({row["theta_sha256"] for row in results["rows"]}) == 2
    assert "on each rank" in done.stdout


def test_own_code_and_a_number_of_ranks_that_fails(openmpi, short, tmp_path):
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "fail").touch()
    words = ["--steps", 2, "--warm-up", 1, "--rounds", 2, "--ranks", "1,2", *short, "--model", "net.py:build"]
    done = scale(*words, "--run", "study", cwd=tmp_path).expect(3)
    assert "2 ranks failed: model net.py:build: this network wants no company" in done.stdout
    one, two = results_of(tmp_path / "study")["rows"]
    assert one["rounds"] == 2 and one["failure"] is None
    assert two["rounds"] == 0 and "no company" in two["failure"]

    (tmp_path / "fail").unlink()
    scale(*words, "--run", "study", cwd=tmp_path).expect(0, "from before")
    assert [row["rounds"] for row in results_of(tmp_path / "study")["rows"]] == [2, 2]

    (tmp_path / "net.py").write_text(NETWORK + "\n")
    scale(*words, "--run", "study", cwd=tmp_path).expect(6, "holds a study with code")


def test_a_training_that_is_too_short(openmpi, short, tmp_path):
    done = scale("--ranks", 1, "--steps", 50, *short, "--epochs", 1, "--run", "s", cwd=tmp_path).expect(3)
    assert "1 rank failed: the training has 11 steps, 1 epochs of 11, but the study takes 60" in done.stdout


def test_ranks_of_an_allocation_are_started_by_srun(openmpi, short, tmp_path):
    srun = tmp_path / "srun"
    srun.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nshift\nfor name in $(env | sed -n "s/=.*//p" | grep ^SLURM_); do\n'
        f'unset "$name"; done\nexec {openmpi.mpirun} --map-by :OVERSUBSCRIBE "$@"\n'
    )
    srun.chmod(0o755)
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_JOB_NUM_NODES": "1"}
    words = ["--steps", 2, "--warm-up", 1, "--rounds", 1, *short, "--run", "s"]
    done = scale(*words, cwd=tmp_path, DISTLENET_LAUNCHER=f"{srun} --mpi=pmix", **slurm).expect()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [line.split()[:3] for line in calls] == [["--mpi=pmix", "-n", "1"], ["--mpi=pmix", "-n", "2"]]
    assert all("-m distlenet.bench.study_rank" in line for line in calls)
    assert [row["same_bits"] for row in results_of(tmp_path / "s")["rows"]] == [True, True], done.output
    assert not list(tmp_path.glob(".distlenet-*"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--ranks", "1"], 2, "scale is followed by train and its options: `distlenet scale --ranks 1,2,4 train"),
        (["evaluate", "x"], 2, "its options, got 'evaluate'"),
        (["--ranks", "0,2", "train"], 2, "'0,2', expected numbers of ranks like 1,2,4"),
        (["--ranks", "two", "train"], 2, "'two', expected numbers of ranks like 1,2,4"),
        (["train"], 2, "required: --run"),
        (["train", "--run", "s", "--rounds", "3"], 2, "--rounds is an option of scale, not of train: give it before"),
        (["--epochs", "3", "train", "--run", "s"], 2, "--epochs is an option of train, not of scale"),
        (["train", "--run", "s", "--resume"], 2, "without --resume: leave it out"),
        (["train", "--run", "s", "--callback", "a.py:f"], 2, "without --callback: leave it out"),
        (["train", "--run", "s", "--epoch", "3"], 2, "did you mean '--epochs'?"),
        (["--ranks", "2,9", "--oversubscribe", "train", "--run", "s"], 7, "9 ranks, but"),
        (["--ranks", "4000", "train", "--run", "s"], 7, "4000 ranks on "),
        (["--ranks", "1", "train", "--run", "s", "--data", "missing.h5"], 4, "missing.h5"),
    ],
)
def test_refusals(words, code, message, distlenet, tmp_path, only_sentence, monkeypatch):
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    only_sentence(distlenet("scale", *words, cwd=tmp_path), code, message)
    assert list(tmp_path.iterdir()) == []
