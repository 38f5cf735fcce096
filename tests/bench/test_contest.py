"""The contest of peers: turns, peers that fail, the table, and PyTorch and the others themselves where installed."""

import io
import itertools
import json
import os
from importlib.util import find_spec
from types import SimpleNamespace

import fake_peers
import mpi_jobs
import pytest
from rich.console import Console

from distlenet.bench import contest, engine
from distlenet.bench.peers import catalogue
from distlenet.recipes import RECIPES, build_config
from distlenet.ui import machine

REQUEST = {"batch_size": 32, "shards": 4}


@pytest.fixture(autouse=True)
def found_by_children(monkeypatch):
    """Let the processes of peers find the fake ones."""
    monkeypatch.setenv("PYTHONPATH", f"{mpi_jobs.ROOT}{os.pathsep}{mpi_jobs.ROOT / 'tests'}")


def hold(*peers, rounds=3, steps=9):
    core = min(os.sched_getaffinity(0))
    rows = contest.hold([(peer, {**REQUEST, "cores": [core]}) for peer in peers], rounds, steps, lambda text: None)
    return {(row.name, row.kind): row for row in rows}


def running():
    """Return the processes of peers that are left."""
    command = ["ps", "-eo", "args"]
    return [line for line in mpi_jobs.run(command).stdout.splitlines() if '"fake_peers"' in line]


def test_peers_take_turns(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_TURNS", str(tmp_path / "turns"))
    rows = hold(fake_peers.Quick, fake_peers.Slow)
    assert {name: len(row.seconds) for name, row in rows.items()} == {
        **{("quick", "train"): 9, ("quick", "infer"): 9},
        **{("slow", "train"): 9, ("slow", "ranks"): 9},
    }
    assert rows["quick", "train"].version == "1.0" and rows["slow", "train"].error is None
    assert min(rows["slow", "train"].seconds) >= 0.05 > max(rows["quick", "train"].seconds)
    turns = [name for name, _ in itertools.groupby((tmp_path / "turns").read_text().split())]
    assert turns == ["quick", "slow"] * 4  # once when they start
    assert not running()


def test_a_turn_is_short():
    rows = hold(fake_peers.Slow, rounds=2, steps=1000)
    assert len(rows["slow", "train"].seconds) < 2 * contest.SLICE / 0.05 + 1


def test_peers_that_fail_do_not_end_the_contest(monkeypatch):
    monkeypatch.setattr(contest, "TURN", 1.0)
    rows = hold(*fake_peers.PEERS)
    errors = {name: row.error for (name, kind), row in rows.items() if kind == "train"}
    assert errors.pop("quick") is errors.pop("slow") is None and len(rows["quick", "train"].seconds) == 9
    assert "no module of that name" in errors["absent"]
    assert "SIGABRT" in errors["crashing"]
    assert errors["hanging"] == "no answer in 1 s"
    assert not running()


def test_a_peer_that_hangs_while_it_starts(monkeypatch):
    monkeypatch.setattr(contest, "BUILD", 0.0)
    assert hold(fake_peers.Quick)["quick", "train"].error == "no answer in 0 s"
    assert not running()


def one(name, kind, ours, best, cores=1, error=None):
    figures = {"images_per_second": 100.0, "best_tenth": 120.0, "ours": ours, "ours_best_tenth": best}
    return {"name": name, "kind": kind, "cores": cores, "version": "2.0", "error": error, **figures}


def test_ratios_and_peers_ahead():
    results = [
        *(one("distlenet", "train", 1.0, 1.0), one("distlenet, 2 ranks", "ranks", 1.0, 1.0, 2)),
        *(one("PyTorch, NCHW", "train", 2.0, 1.9), one("PyTorch, compiled", "train", 1.5, 1.6)),
        *(one("JAX, NHWC", "train", 0.9, 1.1), one("ONNX Runtime", "infer", 1.1, 0.9)),
        *(one("PyTorch, DDP gloo", "ranks", 3.0, 2.5, 2), one("PyTorch, threads", "ranks", 2.5, 2.0, 2)),
        one("OpenVINO", "infer", 0.0, 0.0, error="ended"),
    ]
    assert engine.compared(results) == {
        **{"train_vs_pytorch": 1.5, "train_vs_best": 0.9, "inference_vs_best": 1.1},
        **{"train_2_ranks_vs_ddp": 3.0, "train_2_ranks_vs_best": 2.5},
    }
    assert engine.ahead(results) == ["JAX, NHWC: train", "ONNX Runtime: infer"]


def test_settings_from_outside():
    found = {"OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "1", "HOME": "/root"}
    assert engine.settings(found) == {"OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "4"}
    assert "family" in engine.cpu() or "(" in engine.cpu()


def test_the_command(openmpi, monkeypatch, distlenet):
    """With an installed library and a missing one: the table, the report."""
    monkeypatch.setattr(contest, "TURN", 1.0)
    monkeypatch.setenv("OPENBLAS_CORETYPE", os.environ.get("OPENBLAS_CORETYPE", "Haswell"))
    lost = SimpleNamespace(NEEDS=("distlenet", "no_such_package"), INSTALL="pip install it", PEERS=())
    monkeypatch.setattr(catalogue, "LIBRARIES", {"jax": fake_peers, "openvino": lost})
    words = ("bench", "--peers", "jax,openvino", "--rounds", 3, "--steps", 9, "--batch-size", 32, "--shards", 4)
    report = json.loads(distlenet(*words, "--json").expect().stdout)
    ratios = {
        "sgemm_share",
        "augment_share",
        "portable_cost",
        "scaling_2_ranks",
        "reduce_share",
        "exchange_vs_allreduce",
    }
    assert report["ratios"].keys() >= ratios and report["ratios"]["train_vs_best"] < 1
    assert {"quick: train", "quick: infer"} <= set(report["ahead"])
    assert {"train", "infer", "train, portable", "ranks: 2", "slow: ranks"} <= report["images_per_second"].keys()
    assert report["missing"] == {"openvino": "pip install it"} and "OPENBLAS_CORETYPE" in report["settings"]
    assert set(report["leaf_sizes"]) == {"8", "16", "32", "64", "128"}
    console = Console(file=io.StringIO(), width=150)
    monkeypatch.setattr(machine, "make_console", lambda: console)
    machine.show_bench(report)
    shown = console.file.getvalue()
    for words in (
        *("training, 2 cores", "distlenet, 2 ranks", "no answer in 1 s", "SIGABRT", "no module of that name"),
        *("ahead of distlenet: quick: train", "openvino (pip install it)", "OPENBLAS_CORETYPE=", "share of peak"),
    ):
        assert words in shown


@pytest.mark.parametrize(("name", "words"), [("rase", "rase"), ("torch,jaxx", "did you mean 'jax'?")])
def test_unknown_peers(distlenet, only_sentence, name, words):
    only_sentence(distlenet("bench", "--peers", name), 2, words, "onnxruntime")


@pytest.mark.parametrize("library", catalogue.LIBRARIES)
def test_real_peers(library):
    """Each that is installed trains and infers; those that compile are left out: that takes a minute."""
    module = catalogue.LIBRARIES[library]
    if not all(map(find_spec, module.NEEDS)):
        pytest.skip(f"not installed: {module.INSTALL}")
    peers = [peer for peer in module.PEERS if "compiled" not in peer.name]
    allowed = sorted(os.sched_getaffinity(0))
    entries = [
        (peer, {**REQUEST, "cores": [allowed[i % len(allowed)] for i in range(2 if "ranks" in peer.kinds else 1)]})
        for peer in peers
    ]
    rows = contest.hold(entries, 1, 2, lambda text: None)
    assert [row.error for row in rows] == [None] * len(rows)
    assert all(len(row.seconds) == 2 and row.version for row in rows)


def test_the_race_knows_what_pytorch_lacks():
    from distlenet.bench.pytorch_race import lacking

    more = {"average": 0.9, "optimizer": "muon", "label_smoothing": 0.1}
    assert not lacking(build_config("fast")) and not lacking(build_config("fast", None, more))
    assert lacking(build_config("standard")) == ["rotate 12.0", "shift 2.0", "zoom 0.15"]
    assert all(lacking(build_config(name)) for name in RECIPES if name.startswith("lenet5-1998"))
    assert lacking(build_config("fast", None, {"pooling": "trainable"})) == ["pooling trainable"]


def test_a_race_alone(digits, distlenet, monkeypatch, capfd):
    """From the start of the processes to their end, with what PyTorch lacks."""
    monkeypatch.setitem(RECIPES, "short", {**RECIPES["fast"], "epochs": 1, "pooling": "trainable"})
    monkeypatch.setattr("distlenet.bench.race.train_here", lambda *_: {"accuracy": 0.5, "seconds": 0.0})
    monkeypatch.setattr("distlenet.bench.race.choose", lambda names: ([], {}))
    done = distlenet("bench", "race", "--recipe", "short", "--seeds", 2, "--data", digits).expect()
    assert "PyTorch's side lacks pooling trainable" in done.stderr
    found = json.loads(done.stdout)
    assert len(found["runs"]["distlenet"]) == 2 and found["means"]["distlenet"]["total_seconds"] >= 0


def test_a_race_with_pytorch(digits, distlenet):
    pytest.importorskip("torch")
    words = ("bench", "race", "--recipe", "fast", "--seeds", 1, "--data", digits)
    means = json.loads(distlenet(*words).expect().stdout)["means"]
    assert set(means) == {"distlenet", "PyTorch DDP", "PyTorch threads"}
    assert all(each["accuracy"] > 0.5 and each["total_seconds"] > each["seconds"] for each in means.values())
