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
    from distlenet.training.evaluation import Result


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_checkpoint(parser)
    add_data(parser)
    parser.add_argument("--split", choices=("test", "train", "validation"), default="test")
    add_trust(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.parallel.agreement import on_root
    from distlenet.parallel.connect import run_ranks

    def work(comm: "Communicator") -> None:
        report = measure(args, comm)
        on_root(comm, lambda: show(report, args.json))

    return run_ranks(work, args.debug)


def show(report: dict[str, Any], as_json: bool) -> None:
    """Print the evaluation, as tables or one JSON object."""
    for text in report["notes"]:
        note(text)
    result: Result = report["result"]
    if as_json:
        print(json.dumps(to_json(report, result)))
        return
    from distlenet.ui.console import make_console
    from distlenet.ui.tables import evaluation_table

    say(f"{report['checkpoint']} on {report['data']}, {report['split']}")
    make_console().print(evaluation_table(result.confusion, result.loss, report["class_names"]))


def to_json(report: dict[str, Any], result: "Result") -> dict[str, Any]:
    """Return the report as JSON values."""
    from distlenet.reader import per_class

    figures = per_class(result.confusion)
    return {
        **{key: report[key] for key in ("checkpoint", "data", "split")},
        "accuracy": result.accuracy,
        "error": 1 - result.accuracy,
        "loss": result.loss,
        "count": int(result.confusion.sum()),
        "classes": [
            {"name": name, **{key: float(values[place]) for key, values in figures.items()}}
            for place, name in enumerate(report["class_names"])
        ],
        "confusion": result.confusion.tolist(),
    }


def measure(args: argparse.Namespace, comm: "Communicator") -> dict[str, Any]:
    """Evaluate on all ranks; return what is shown, the same on every rank."""
    from distlenet.data.augmentation import Resampler
    from distlenet.data.file.dataset_file import open_digit_file
    from distlenet.data.slices import DatasetSlice, Slices
    from distlenet.errors import DataError
    from distlenet.parallel.agreement import in_agreement
    from distlenet.runs import audits
    from distlenet.runs.choice import find_checkpoint
    from distlenet.training.evaluation import evaluate

    notes: list[str] = []
    with in_agreement(comm):
        checkpoint = find_checkpoint(args.checkpoint, notes.append, make_trust(args, args.model))
        net, trained = checkpoint.build_net(), checkpoint.dataset
        digits = open_digit_file(args.data)
        if (digits.image_shape, len(digits.class_names)) != (trained.image_shape, len(trained.class_names)):
            raise DataError(
                f"{digits.path} has {digits.image_shape} pixels and {len(digits.class_names)} classes, but "
                f"{checkpoint.path} was trained on {trained.image_shape} and {len(trained.class_names)}"
            )
        part: DatasetSlice | None = DatasetSlice(digits, "test", 0, digits.length("test"))
        if args.split != "test":
            part = getattr(Slices.of(digits, checkpoint.config), args.split)
        if part is None:
            raise DataError(f"the run of {checkpoint.path} held no validation images back: use another --split")
    audits.compare_ranks(
        comm,
        lambda: [
            *audits.of_package(),
            audits.Fact("option split", args.split),
            *audits.of_parameters(net),
            *audits.of_settings(checkpoint.config),
            *audits.of_dataset(digits),
            *audits.of_network(comm, checkpoint.config.model, net),
        ],
    )
    resampler = Resampler(*trained.image_shape, trained.mean, trained.std)
    result = evaluate(net, part, resampler, comm)
    return {
        "checkpoint": str(checkpoint.path),
        "data": str(digits.path),
        "split": args.split,
        "class_names": list(trained.class_names),
        "result": result,
        "notes": notes,
    }
