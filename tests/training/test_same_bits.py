"""Small real training runs: the same bits in one process and on any number of ranks, under each MPI."""

import json
from pathlib import Path

import drawn
import mpi_jobs
import pytest
import sessions

# 700 images; those not held back for validation are divided into the shards
CASES = {
    # shards of 214 rows, leaves of 7: a last leaf of 4; augmented
    "3 shards, nesterov": "--shards 3 --batch-size 21",
    # the curvature estimated several times in the first epoch, once in the second
    "4 shards, levenberg-marquardt": "--recipe lenet5-1998-augmented --batch-size 12 --curvature-samples 30",
    # 606 images: one shard of 122 rows, four of 121 = 11 * 11, so four leaves of the last step are empty
    "5 shards, adam": "--shards 5 --batch-size 55 --validation 94 --optimizer adam --lr 0.002 --rotate 0 --shift 0"
    " --zoom 0 --schedule cosine",
    # shards of 91 and 92 rows
    "7 shards, rmsprop": "--shards 7 --batch-size 77 --optimizer rmsprop --lr 0.002 --activation tanh --pooling max"
    " --validation 60 --test-curve --average 0.9 --elastic 1.5 --disturb 0.7",
    # more shards than a power of two, leaves of 2, nothing held back
    "9 shards, momentum": "--shards 9 --batch-size 18 --optimizer momentum --lr 0.02 --schedule step --validation 0"
    " --epochs 1 --init glorot --average 0.8",
    "8 shards, sgd": "--shards 8 --batch-size 64 --optimizer sgd --lr 0.2 --schedule constant --train-sample -1",
}
RANKS = {"openmpi": {2: len(CASES), 5: 3}, "mpich": {3: 3}}  # by MPI: ranks, and how many cases


def at_least(shards: int) -> list[str]:
    return [name for name in CASES if int(name.split()[0]) >= shards]


def start(names: list[str], data: Path, folder: Path, command: object) -> dict[str, dict]:
    """Train and evaluate the named cases in one job; return the results of each."""
    lines = []
    for name in names:
        run = str(folder / name.replace(" ", "_"))
        settings = f"--display quiet --log-every 1 --epochs 2 {CASES[name]}"
        lines.append(["train", "--data", str(data), "--run", run, *settings.split()])
        for split in ("test", "train"):
            lines.append(["evaluate", run, "--data", str(data), "--json", "--split", split])
    plan = folder / "plan.json"
    plan.write_text(json.dumps(lines))
    done = mpi_jobs.run(command(str(mpi_jobs.JOBS / "train_many.py"), str(plan))).expect()
    printed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(printed) == 2 * len(names), done.output
    for figures in printed:
        figures["checkpoint"] = Path(figures["checkpoint"]).name
    return {
        name: found(folder / name.replace(" ", "_"), printed[2 * place : 2 * place + 2])
        for place, name in enumerate(names)
    }


def found(run: Path, evaluations: list[dict]) -> dict:
    """Return everything in a run that must not depend on the number of ranks."""
    journal = [sessions.timeless(line) for line in sessions.lines(run) if line["kind"] != "notice"]
    for line in journal:
        for key in ("facts", "command", "date"):  # of the start
            line.pop(key, None)
    return {"summary": sessions.results(run), "journal": journal, "evaluations": evaluations}


@pytest.fixture(scope="module")
def data(once):
    """700 training images, and two chunks of test images."""
    return once("few-to-test.h5", lambda path: drawn.write(path, 700, 300))


@pytest.fixture(scope="module")
def alone(runtime, data, tmp_path_factory):
    """All cases in one process, with the Python of each MPI, whose numpy may differ."""
    return start(list(CASES), data, tmp_path_factory.mktemp("alone"), lambda *words: [runtime.python, *words])


def test_the_cases_match_their_names(alone):
    assert len({case["summary"]["theta_sha256"] for case in alone.values()}) == len(CASES)
    steps = [line for line in alone["5 shards, adam"]["journal"] if line["kind"] == "step"]
    assert [line["count"] for line in steps[:12]] == [55] * 11 + [1]
    steps = [line for line in alone["3 shards, nesterov"]["journal"] if line["kind"] == "step"]
    assert [line["count"] for line in steps[:31]] == [21] * 30 + [12]
    assert alone["9 shards, momentum"]["summary"]["val_accuracy"] is None
    for case in alone.values():
        assert case["summary"]["status"] == "complete"
        epochs = [line for line in case["journal"] if line["kind"] == "epoch"]
        assert len(epochs) == case["summary"]["epochs"]
        assert case["evaluations"][0]["accuracy"] == case["summary"]["test_accuracy"]
        assert case["evaluations"][0]["loss"] == case["summary"]["test_loss"]


def test_same_bits_on_several_ranks(runtime, alone, data, tmp_path):
    for ranks, most in RANKS[runtime.name].items():
        folder = tmp_path / str(ranks)
        folder.mkdir()
        names = at_least(ranks)[:most]
        several = start(names, data, folder, lambda *words: runtime.command(ranks, *words))  # noqa: B023
        for name, case in several.items():
            assert case == alone[name], f"{name}, {ranks} ranks"


def test_again(alone, runtime, data, tmp_path):
    names = ["5 shards, adam", "3 shards, nesterov"]
    again = start(names, data, tmp_path, lambda *words: [runtime.python, *words])
    for name in names:
        assert again[name] == alone[name]


def test_learning_happens(alone):
    assert alone["3 shards, nesterov"]["summary"]["test_accuracy"] > 0.3  # guessing: 0.1
