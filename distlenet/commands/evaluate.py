"""``distlenet evaluate``: measure a checkpoint on a dataset, in one process or under mpirun.

distlenet evaluate runs/a --data datasets/mnist.h5
mpirun -n 4 distlenet evaluate runs/a/checkpoints/last.h5 --split train --json
"""

import argparse
import json
from typing import TYPE_CHECKING, Any

from distlenet.commands.options import add_checkpoint, add_data, add_json, add_trust, make_trust
from distlenet.streams import note, say

if TYPE_CHECKING:
    from distlenet.parallel import Communicator
    from distlenet.runs.measure import Measured


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_checkpoint(parser)
    add_data(parser)
    parser.add_argument(
        "--split", choices=("test", "train", "validation"), default="test", help="which images (default: %(default)s)"
    )
    add_trust(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.parallel.agreement import on_root
    from distlenet.parallel.connect import run_ranks
    from distlenet.runs.measure import measure

    def work(comm: "Communicator") -> None:
        measured = measure(args.checkpoint, args.data, args.split, comm, make_trust(args, args.model))
        on_root(comm, lambda: show(measured, args.json))

    return run_ranks(work, args.debug)


def show(measured: "Measured", as_json: bool) -> None:
    """Print the evaluation, as tables or one JSON object."""
    for text in measured.notes:
        note(text)
    if as_json:
        print(json.dumps(to_json(measured)))
        return
    from distlenet.ui.console import make_console
    from distlenet.ui.tables import evaluation_table

    say(f"{measured.checkpoint} on {measured.data}, {measured.split}")
    make_console().print(evaluation_table(measured.result.confusion, measured.result.loss, measured.class_names))


def to_json(measured: "Measured") -> dict[str, Any]:
    """Return the evaluation as JSON values."""
    from distlenet.reader import per_class

    result = measured.result
    figures = per_class(result.confusion)
    return {
        **{key: getattr(measured, key) for key in ("checkpoint", "data", "split")},
        "accuracy": result.accuracy,
        "error": 1 - result.accuracy,
        "loss": result.loss,
        "count": int(result.confusion.sum()),
        "classes": [
            {"name": name, **{key: float(values[place]) for key, values in figures.items()}}
            for place, name in enumerate(measured.class_names)
        ],
        "confusion": result.confusion.tolist(),
    }
