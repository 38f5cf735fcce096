"""A network of 100 million parameters on two ranks, under the watchdog's default: trains, saves, resumes, evaluates.

Without --soak one of a million: the same commands, a few megabytes.
"""

import json

import drawn
import mpi_jobs
import pytest
from faults import runs

from distlenet.runs.checkpoint_file import read_checkpoint

NET = """
from distlenet.nn import Dense, Flatten, ReLU, Sequential


def build(input_shape, classes):
    return Sequential(input_shape, Flatten(), Dense({0}), ReLU(), Dense({0}), ReLU(), Dense(classes))
"""
PARAMETERS = {650: 939_910, 9600: 99_801_610}
HOUR = 3600.0  # seconds


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "drawn.h5"
    names = list("0123456789")
    return drawn.write(path, 400, 60, names)


def test_a_large_network(openmpi, soak, data, tmp_path):
    width = 9600 if soak.full else 650
    (tmp_path / "large.py").write_text(NET.format(width))
    run = tmp_path / "run"
    model = ["--model", f"{tmp_path / 'large.py'}:build"]
    train = ["train", "--data", data, "--run", run, *model, "--recipe", "fast"]
    train += ["--shards", 2, "--batch-size", 16, "--validation", 300, "--keep-newest", 1, "--display", "plain"]

    def do(*words):
        command = openmpi.command(2, "-m", "distlenet", *map(str, words))
        done = mpi_jobs.run(command, timeout=HOUR if soak.full else mpi_jobs.TIMEOUT).expect()
        assert "no progress" not in done.output
        return done

    with soak.fault(f"a network of {PARAMETERS[width]:,} parameters on two ranks") as fault, fault.trial("all of it"):
        fault.time("train", do(*train, "--epochs", 1).seconds)
        last = run / "checkpoints/last.h5"
        assert last.stat().st_size > 4 * 4 * PARAMETERS[width]
        fault.time("resume", do(*train, "--epochs", 2, "--override", "epochs", "--resume", "auto").seconds)
        summary = runs.summary(run)
        assert (summary["epochs"], summary["parameters"]) == (2, PARAMETERS[width])
        fault.saw(f"{summary['memory_mib']} MiB at most in a rank, {last.stat().st_size:,} bytes a checkpoint")
        found = do("evaluate", run, *model, "--data", data, "--json")
        fault.time("evaluate", found.seconds)
        assert json.loads(found.stdout)["accuracy"] == summary["test_accuracy"]
        assert read_checkpoint(last).position == (14, 2)
