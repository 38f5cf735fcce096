"""``distlenet bench``: its parts are there and add up; how fast they are is nobody's promise here."""

import pytest

from distlenet import cli
from distlenet.bench.breakdown import Stopwatch, time_layers, time_parts
from distlenet.nn import lenet5


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


def test_command(distlenet):
    words = ("--rounds", 1, "--steps", 5, "--batch-size", 32, "--shards", 4, "--peers", "none", "--ranks", 1)
    done = distlenet("bench", *words).expect()
    assert "share of peak" in done.stdout and "S4" in done.stdout and "ahead" not in done.stdout


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
