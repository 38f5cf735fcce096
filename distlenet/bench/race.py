"""The race: a recipe trained here and by PyTorch's DistributedDataParallel, seed by seed, in turn.

    python -m distlenet.bench.race [--recipe fast] [--seeds 5] [--ranks 2] [--data datasets/mnist.h5]

Prints a line a run and one JSON object at the end: test accuracy, seconds of training, and seconds of the whole
process, from its start to its end. Without PyTorch distlenet races alone.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean
from time import perf_counter

from distlenet.bench import pytorch
from distlenet.bench.ranks import run_torch
from distlenet.launching.mpirun import mpi_environment, mpirun_command, python_command
from distlenet.paths import path

TIMEOUT = 600  # seconds for one run


def train_here(data: str, recipe: str, seed: int, ranks: int) -> dict[str, float]:
    """Train on ``ranks`` ranks; returns the figures of summary.json."""
    with tempfile.TemporaryDirectory(prefix="distlenet-race-") as folder:
        words = ["train", "--data", data, "--run", f"{folder}/run", "--recipe", recipe, "--seed", str(seed)]
        command = [*mpirun_command(ranks), *python_command("distlenet", *words, "--display", "quiet")]
        subprocess.run(command, env=mpi_environment(), check=True, timeout=TIMEOUT)
        summary = json.loads(Path(folder, "run", "summary.json").read_text(encoding="utf-8"))
    return {"accuracy": summary["test_accuracy"], "seconds": summary["seconds"]}


def train_in_pytorch(data: str, recipe: str, seed: int, ranks: int) -> dict[str, float]:
    """Train the same recipe in DistributedDataParallel over gloo."""
    return run_torch("distlenet.bench.pytorch_race", [data, recipe, str(seed)], ranks)


def main() -> None:
    """Run the race."""
    parser = argparse.ArgumentParser(description="Train a recipe here and in PyTorch, in turn.")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--data", default="datasets/mnist.h5", type=path)
    args = parser.parse_args()
    racers = {"distlenet": train_here} | ({"PyTorch DDP": train_in_pytorch} if pytorch.available() else {})
    if len(racers) == 1:
        print("PyTorch is not installed here: distlenet races alone", file=sys.stderr, flush=True)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in racers}
    for seed in range(1, args.seeds + 1):
        for name, race in racers.items():
            begun = perf_counter()
            result = race(args.data, args.recipe, seed, args.ranks)
            result["total_seconds"] = perf_counter() - begun
            results[name].append(result)
            shown = f"{100 * result['accuracy']:.2f} %, {result['seconds']:.2f} s of {result['total_seconds']:.2f} s"
            print(f"seed {seed}, {name}: {shown}", file=sys.stderr, flush=True)
    means = {name: {key: mean(run[key] for run in runs) for key in runs[0]} for name, runs in results.items()}
    print(json.dumps({"means": means, "runs": results}))


if __name__ == "__main__":
    main()
