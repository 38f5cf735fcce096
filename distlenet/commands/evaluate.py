"""``distlenet evaluate``: measure a checkpoint on a dataset, in one process or under mpirun.

distlenet evaluate runs/a --data datasets/mnist.h5
distlenet evaluate runs/a --corrupt --out runs/a/corrupted
mpirun -n 4 distlenet evaluate runs/a/checkpoints/last.h5 --split train --json
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distlenet.commands.options import add_checkpoint, add_data, add_json, add_trust, make_trust
from distlenet.paths import as_path
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
    parser.add_argument(
        "--corrupt", action="store_true", help="also under 15 corruptions: noise, blur, fog, lines and so on"
    )
    parser.add_argument(
        "--out", type=as_path, metavar="DIR", help="with --corrupt: directory for a page with examples and a plot"
    )
    add_trust(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.data.corruptions import CORRUPTIONS
    from distlenet.errors import UsageError
    from distlenet.parallel.agreement import on_root
    from distlenet.parallel.connect import run_ranks
    from distlenet.runs.measure import measure

    if args.out and not args.corrupt:
        raise UsageError("--out is given without --corrupt, which makes the page")
    kinds = tuple(CORRUPTIONS) if args.corrupt else ()

    def work(comm: "Communicator") -> None:
        measured = measure(args.checkpoint, args.data, args.split, comm, make_trust(args, args.model), kinds)
        on_root(comm, lambda: show(measured, args.json, args.out))

    return run_ranks(work, args.debug)


def show(measured: "Measured", as_json: bool, out: Path | None) -> None:
    """Print the evaluation, as tables or one JSON object; write the page of the corruptions to ``out``, if given."""
    for text in measured.notes:
        note(text)
    if out:
        from distlenet.report.scores import write_corruption_page

        written = write_corruption_page(out, measured)
        note(f"wrote {written.page}")
    if as_json:
        print(json.dumps(to_json(measured)))
        return
    from distlenet.ui.console import make_console
    from distlenet.ui.tables import corruption_table, evaluation_table

    say(f"{measured.checkpoint} on {measured.data}, {measured.split}")
    make_console().print(evaluation_table(measured.result.confusion, measured.result.loss, measured.class_names))
    if measured.corrupted:
        make_console().print("", corruption_table({kind: found.accuracy for kind, found in measured.corrupted.items()}))


def to_json(measured: "Measured") -> dict[str, Any]:
    """Return the evaluation as JSON values."""
    from distlenet.reader import per_class

    result = measured.result
    figures = per_class(result.confusion)
    corrupted = {kind: found.accuracy for kind, found in measured.corrupted.items()}
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
        **({"corrupted": corrupted, "corrupted_mean": sum(corrupted.values()) / len(corrupted)} if corrupted else {}),
    }
