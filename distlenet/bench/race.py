"""The race: distlenet and PyTorch train a recipe, in turn for each seed, from the command to the test result.

PyTorch runs twice: as DistributedDataParallel over gloo, and as one process with as many threads. Prints one line per
run and one JSON object at the end: test accuracy, seconds of training, and seconds of the whole command, from the start
of its processes to their end. Without PyTorch, or if a setting of the recipe is missing there, distlenet races alone.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from time import perf_counter

from distlenet.bench.peers.catalogue import choose
from distlenet.bench.pytorch_race import lacking
from distlenet.bench.timing import as_program, last_json, start
from distlenet.paths import path
from distlenet.recipes import build_config


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--recipe", default="fast", help="recipe to train (%(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each program (%(default)s)")
    parser.add_argument("--ranks", type=int, default=2, help="ranks per run (%(default)s)")
    parser.add_argument("--data", default="datasets/mnist.h5", type=path, help="dataset file (%(default)s)")


def train_here(data: str, recipe: str, ranks: int, seed: int) -> dict[str, float]:
    """Train on ``ranks`` ranks; returns the figures of summary.json."""
    with tempfile.TemporaryDirectory(prefix="distlenet-race-") as folder:
        words = ["--data", data, "--run", f"{folder}/run", "--recipe", recipe, "--seed", seed, "--display", "quiet"]
        start(ranks, "distlenet", "train", *words)
        summary = json.loads(Path(folder, "run", "summary.json").read_text(encoding="utf-8"))
    return {"accuracy": summary["test_accuracy"], "seconds": summary["seconds"]}


def train_in_pytorch(data: str, recipe: str, processes: int, threads: int, seed: int) -> dict[str, float]:
    """Train the same recipe in ``processes`` processes of ``threads`` threads."""
    return last_json(start(1, "distlenet.bench.pytorch_race", data, recipe, seed, processes, threads))


def racers(data: str, recipe: str, ranks: int) -> dict[str, Callable[[int], dict[str, float]]]:
    """Return the programs that can race, by name: each trains with a seed. Reports on stderr why PyTorch cannot."""
    found: dict[str, Callable[[int], dict[str, float]]] = {"distlenet": partial(train_here, data, recipe, ranks)}
    _, missing = choose(["torch"])
    if missing:
        print("PyTorch is not installed here: distlenet races alone", file=sys.stderr, flush=True)
    elif lacks := lacking(build_config(recipe)):
        print(f"PyTorch's side lacks {', '.join(lacks)}: distlenet races alone", file=sys.stderr, flush=True)
    else:
        forms = {"PyTorch DDP": (ranks, 1), "PyTorch threads": (1, ranks)}
        found |= {name: partial(train_in_pytorch, data, recipe, *form) for name, form in forms.items()}
    return found


def run(args: argparse.Namespace) -> int:
    """Run the race; return the exit code."""
    programs = racers(args.data, args.recipe, args.ranks)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    for seed in range(1, args.seeds + 1):
        for name, train in programs.items():
            started = perf_counter()
            result = train(seed)
            result["total_seconds"] = perf_counter() - started
            results[name].append(result)
            shown = f"{100 * result['accuracy']:.2f} %, {result['seconds']:.2f} s of {result['total_seconds']:.2f} s"
            print(f"seed {seed}, {name}: {shown}", file=sys.stderr, flush=True)
    means = {name: {key: mean(run[key] for run in runs) for key in runs[0]} for name, runs in results.items()}
    print(json.dumps({"means": means, "runs": results}))
    return 0


if __name__ == "__main__":
    sys.exit(as_program(configure, run, __doc__))
