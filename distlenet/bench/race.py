"""The race: a recipe is trained by distlenet and by PyTorch's DistributedDataParallel, in turn for each seed.

Prints one line per run and one JSON object at the end: test accuracy, seconds of training, and seconds of the whole
process, from its start to its end. Without PyTorch distlenet races alone.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import mean
from time import perf_counter

from distlenet.bench import pytorch
from distlenet.bench.timing import as_program, run_torch, start
from distlenet.paths import path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--recipe", default="fast", help="recipe to train (%(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each program (%(default)s)")
    parser.add_argument("--ranks", type=int, default=2, help="ranks per run (%(default)s)")
    parser.add_argument("--data", default="datasets/mnist.h5", type=path, help="dataset file (%(default)s)")


def train_here(data: str, recipe: str, seed: int, ranks: int) -> dict[str, float]:
    """Train on ``ranks`` ranks; returns the figures of summary.json."""
    with tempfile.TemporaryDirectory(prefix="distlenet-race-") as folder:
        words = ["--data", data, "--run", f"{folder}/run", "--recipe", recipe, "--seed", seed, "--display", "quiet"]
        start(ranks, "distlenet", "train", *words)
        summary = json.loads(Path(folder, "run", "summary.json").read_text(encoding="utf-8"))
    return {"accuracy": summary["test_accuracy"], "seconds": summary["seconds"]}


def train_in_pytorch(data: str, recipe: str, seed: int, ranks: int) -> dict[str, float]:
    """Train the same recipe in DistributedDataParallel over gloo."""
    return run_torch(ranks, "distlenet.bench.pytorch_race", data, recipe, seed)


def run(args: argparse.Namespace) -> int:
    """Run the race; return the exit code."""
    racers = {"distlenet": train_here} | ({"PyTorch DDP": train_in_pytorch} if pytorch.available() else {})
    if len(racers) == 1:
        print("PyTorch is not installed here: distlenet races alone", file=sys.stderr, flush=True)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in racers}
    for seed in range(1, args.seeds + 1):
        for name, race in racers.items():
            started = perf_counter()
            result = race(args.data, args.recipe, seed, args.ranks)
            result["total_seconds"] = perf_counter() - started
            results[name].append(result)
            shown = f"{100 * result['accuracy']:.2f} %, {result['seconds']:.2f} s of {result['total_seconds']:.2f} s"
            print(f"seed {seed}, {name}: {shown}", file=sys.stderr, flush=True)
    means = {name: {key: mean(run[key] for run in runs) for key in runs[0]} for name, runs in results.items()}
    print(json.dumps({"means": means, "runs": results}))
    return 0


if __name__ == "__main__":
    sys.exit(as_program(configure, run, __doc__))
