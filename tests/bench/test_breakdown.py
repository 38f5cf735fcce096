"""``distlenet bench``: its parts are there and add up; how fast they are is nobody's promise here."""

import json
import time
from functools import partial

import pytest

from distlenet import cli
from distlenet.bench import pytorch
from distlenet.bench.breakdown import Stopwatch, time_layers, time_parts
from distlenet.cli import build_parser
from distlenet.commands.bench import measure
from distlenet.nn import lenet5

RATIOS = {
    *("train_vs_pytorch", "inference_vs_pytorch", "train_2_ranks_vs_ddp"),
    *("scaling_2_ranks", "sgemm_share", "augment_share", "reduce_share"),
}


def test_stopwatch():
    class Sleeper:
        def work(self, value):
            return value + 1

    sleeper, watch = Sleeper(), Stopwatch()
    with watch.on("work", sleeper, "work"):
        assert [sleeper.work(1), sleeper.work(2)] == [2, 3]
        watch.lap()
        assert sleeper.work(3) == 4
        watch.lap()
    assert sleeper.work(1) == 2 and "work" not in vars(sleeper)
    assert len(watch.laps["work"]) == 2 and watch.medians()["work"] > 0


def test_layers_and_parts():
    layers = time_layers(leaf=4, rounds=2)
    assert list(layers) == [layer.name for layer in lenet5().layers]
    assert all(ways["forward"] > 0 and ways["backward"] > 0 for ways in layers.values())
    parts = time_parts(batch_size=16, shards=4, rounds=3)
    assert set(parts) == {"load", "augment", "forward", "backward", "reduce", "update", "other"}
    assert all(value > 0 for name, value in parts.items() if name != "other")


def test_the_names_of_the_ratios(monkeypatch):
    """Programs read them: with PyTorch, which is pretended here, all are there."""
    nothing = partial(time.sleep, 1e-4)
    monkeypatch.setattr(pytorch, "available", lambda: True)
    monkeypatch.setattr(pytorch, "variants", lambda batch_size: {"NCHW": (nothing, nothing)})
    ours = {"images_per_second": 2.0, "reduce_share": 0.1, "exchange_microseconds": 1.0, "allreduce_microseconds": 1.0}
    jobs = {"1": [ours], "2": [ours], "ddp": [{"NCHW": 1.0}]}
    monkeypatch.setattr("distlenet.bench.timing.compare_jobs", lambda *_: jobs)
    words = ["bench", "--rounds", "1", "--batch-size", "64", "--shards", "2"]
    ratios = measure(build_parser("bench").parse(words))["ratios"]
    assert ratios.keys() >= RATIOS
    assert ratios["train_2_ranks_vs_ddp"] == 2


@pytest.mark.parametrize("words", [["--ranks", "1"], ["--ranks", "2", "--json"]])
def test_command(distlenet, openmpi, words):
    done = distlenet(
        "bench", "--rounds", 1, "--steps", 5, "--batch-size", 32, "--shards", 4, "--no-pytorch", *words
    ).expect()
    if "--json" in words:
        report = json.loads(done.stdout)
        assert report["ratios"].keys() >= RATIOS - {name for name in RATIOS if "_vs_" in name}
        assert {"1", "2"} <= set(report["jobs"]) and report["ratios"]["exchange_vs_allreduce"] > 0
        assert set(report["leaf_sizes"]) == {"8", "16", "32", "64", "128"}
    else:
        assert "share of peak" in done.stdout and "S4" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["costmodel"], 0, "| batch 4,096 |"),
        (["growth", "--help"], 0, "usage: distlenet bench growth"),
        (["rase"], 2, "did you mean 'race'?"),
        (["race", "--seed", "3"], 2, "did you mean '--seeds'?"),
    ],
)
def test_other_measurements(capsys, words, code, message):
    try:
        found = cli.main(["bench", *words])
    except SystemExit as left:
        found = left.code
    printed = capsys.readouterr()
    assert found == code and message in printed.out + printed.err
