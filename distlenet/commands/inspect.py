"""``distlenet inspect``: what a checkpoint holds. No code that it names is run.

distlenet inspect runs/a
distlenet inspect runs/a/checkpoints/last.h5 --json
"""

import argparse
import json

from distlenet.commands.options import add_checkpoint, add_json
from distlenet.streams import note, say

PIECE = 2**22  # numbers that are checked at a time


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_checkpoint(parser)
    add_json(parser, "print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    import numpy as np

    from distlenet.numerics import sha256
    from distlenet.runs.choice import find_checkpoint

    checkpoint = find_checkpoint(args.checkpoint, note, mapped=True)
    shapes = checkpoint.parameter_shapes()
    theta = checkpoint.theta
    pieces = (theta[start : start + PIECE] for start in range(0, theta.size, PIECE))
    wrong = sum(piece.size - np.count_nonzero(np.isfinite(piece)) for piece in pieces)
    progress, code, named = checkpoint.progress, checkpoint.meta["code"], checkpoint.config.code
    facts = {
        "file": str(checkpoint.path),
        "position": f"{progress.epoch} epochs and {progress.step} steps, {progress.steps} steps in all",
        "best": "none yet"
        if progress.best_epoch is None
        else f"epoch {progress.best_epoch + 1}, validation {progress.best_accuracy:.4f}",
        "theta_sha256": sha256(checkpoint.theta),
        "parameters": {name: list(shape) for name, shape in shapes.items()},
        **({"nan_or_infinite": int(wrong)} if wrong else {}),
        "optimizer": {name: list(vector.shape) for name, vector in checkpoint.optimizer.items()},
        **{key: checkpoint.meta[key] for key in ("config", "dataset", "numerics")},
        **({"code_sha256": code.get("model")} if "model" in named else {}),
        **({"own_code": {name: code.get(name) for name in named}} if named else {}),
    }
    if args.json:
        print(json.dumps(facts))
        return 0
    for name, value in facts.items():
        if isinstance(value, dict):
            say(f"{name}:")
            for key, entry in value.items():
                say(f"  {key:18} {in_words(entry)}")
        else:
            say(f"{name:14} {value}")
    print("all checksums match")
    return 0


def in_words(entry: object) -> str:
    """Return a shape as "16 x 6 x 5 x 5", a list of names with commas."""
    if isinstance(entry, list | tuple):
        return (" x " if all(isinstance(part, int) for part in entry) else ", ").join(map(str, entry))
    return str(entry)
