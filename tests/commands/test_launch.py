"""``distlenet launch``: its options, and what it refuses before it starts a job."""

import os
import re

import pytest
import sessions

from distlenet import cli
from distlenet.launching import restarts

OWN = "is an option of launch, not of {}: give it before the command"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-n 2 train --run x --max-restarts 0", "--max-restarts " + OWN.format("train")),
        ("-n 2 train --run x --max-restarts=0", "--max-restarts " + OWN.format("train")),
        ("-n 2 -- train --run x --hosts=a:2", "--hosts " + OWN.format("train")),
        ("-n 2 evaluate x --no-fault-tolerance", "--no-fault-tolerance " + OWN.format("evaluate")),
        ("-n 2 evaluate x --stall-after 3", "--stall-after " + OWN.format("evaluate")),
        ("-n 2 repeat -n 3 --ranks 2 --run x", "--ranks " + OWN.format("repeat")),
        ("train -n 4 --run x", "-n " + OWN.format("train")),
        ("train --run x -n4", "-n " + OWN.format("train")),
        ("-n 2 train --run x --max-restart 1", "did you mean --max-restarts?"),
        ("-n 2 --epochs 3 train --run x", "--epochs is an option of train, not of launch"),
        ("-n 2 --lr=0.1 train --run x", "--lr is an option of train, not of launch"),
        ("-n 2 train --run x --epoch 3", "did you mean '--epochs'?"),
        ("-n 2 --max-restarts -1 train --run x", "--max-restarts: '-1', expected a whole number of at least 0"),
        ("-n 2 --stall-after nan train --run x", "--stall-after: 'nan', expected a number of at least 0"),
        ("repeat -n 5 --run x", "required: -n/--ranks"),
        ("train", "required: -n/--ranks"),
        ("-n 2", "launch needs the command to run"),
        ("-n 0 train", "-n/--ranks: '0', expected a whole number of at least 1"),
        ("-n two train", "-n/--ranks: 'two', expected a whole number"),
        ("-n 2 --stall-after -1 -- train", "--stall-after: '-1', expected a number of at least 0"),
        ("-n 2 predict x", "launch starts train, evaluate, repeat, compare, doctor, got 'predict'"),
    ],
)
def test_bad_usage_and_options_in_the_wrong_place(distlenet, only_sentence, words, message):
    only_sentence(distlenet("launch", *words.split()), 2, message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-n 100 train --run x", "100 ranks, but the training set is cut into 8 shards"),
        ("-n 3 train --run x --shards 2", "cut into 2 shards"),
        ("-n 5 train --run x --config CONFIG", "cut into 4 shards"),
        ("-n 5 train --run RUN --resume", "at most 4 ranks, because a resumed run keeps its shards"),
        ("-n 9 train --run new --resume", "give --shards 9 --batch-size 261, which changes the results"),
        ("-n 5 train --run other --resume RUN/checkpoints/last.h5", "cut into 4 shards"),
        ("-n 9 repeat -n 2 --run x", "9 ranks"),
        ("-n 10 compare fast slow:shards=4 --side-by-side 2 --run x", "5 ranks, but"),
        ("-n 1000000000 doctor", "this system has room for"),
    ],
)
def test_more_ranks_than_shards_are_refused_before_the_start(capsys, monkeypatch, digits, tmp_path, words, message):
    (tmp_path / "shards.toml").write_text("shards = 4\n")
    if "RUN" in words:
        flags = {"shards": 4, "batch_size": 64, "epochs": 1}
        assert sessions.train_run(digits, tmp_path / "run", flags=flags).code == 0
    monkeypatch.setattr(restarts, "launch", lambda *_: pytest.fail("started"))
    words = words.replace("RUN", str(tmp_path / "run")).replace("CONFIG", str(tmp_path / "shards.toml"))
    assert cli.main(["launch", *words.split()]) == 7
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("ranks", [3, 16, 100])
@pytest.mark.parametrize("start", ["launch -n", "scale --steps 1 --oversubscribe --ranks"])
def test_the_settings_that_a_refusal_names_can_be_copied(capsys, monkeypatch, digits, tmp_path, ranks, start):
    monkeypatch.setattr(restarts, "launch", lambda *_: 99)
    monkeypatch.setattr("distlenet.bench.study.Study.run", lambda *_: (130, {}))
    words = [*start.split(), f"{ranks}", "train", "--data", f"{digits}", "--run", f"{tmp_path / 'run'}"]
    words += ["--shards", "2", "--batch-size", "50"]
    assert cli.main(words) == 7
    advice = re.search(r"or give (.*), which changes", capsys.readouterr().err)[1]
    assert cli.main([*words, *advice.split()]) in (99, 130)


def test_ranks_train_with_the_settings_that_a_refusal_names(any_mpi, distlenet, digits, tmp_path, summary_of):
    words = ["train", "--data", digits, "--run", tmp_path / "run", "--recipe", "fast", "--epochs", 1, "--shards", 2]
    done = distlenet(*words, "--batch-size", 50, runtime=any_mpi, ranks=3).expect(7)
    advice = re.search(r"or give (.*), which changes", done.output)[1]
    distlenet(*words, *advice.split(), runtime=any_mpi, ranks=3).expect()
    assert summary_of(tmp_path / "run")["ranks"] == 3


@pytest.mark.parametrize("words", ["-n 8 train --run x", "-n 16 repeat -n 2 --run x --side-by-side 2", "-n 9 doctor"])
def test_as_many_ranks_as_shards_are_started(capsys, monkeypatch, words):
    started = []
    monkeypatch.setattr(restarts, "launch", lambda job, restarts: started.append(job.ranks) or 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    assert cli.main(["launch", *words.split()]) == 0
    assert started == [int(words.split()[1])]
    assert ("expect it to be slow" in capsys.readouterr().err) == (started[0] > 8)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("train --run elsewhere --run=~/run", "run"),  # the last one counts, ~ is expanded
        ("train --run ~/other --resume", "other"),
        ("evaluate ~/run", None),
        ("repeat -n 2 --run ~/run", None),  # resumes its runs by itself
    ],
)
def test_which_run_is_resumed_after_a_restart(tmp_path, monkeypatch, words, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    started = []
    monkeypatch.setattr(restarts, "launch", lambda job, restarts: started.append(job.run) or 0)
    assert cli.main(["launch", "-n", "2", *words.split()]) == 0
    assert started == [name and tmp_path / name]
