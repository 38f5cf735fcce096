"""``distlenet summary``: the layers of a network, their outputs and parameters, before anything is trained.

distlenet summary                          LeNet-5
distlenet summary mynet.py:build --data datasets/mnist.h5
distlenet summary runs/first               the network of a run
distlenet summary runs/own --trust-code    the same, for your own network
distlenet summary conv8-conv8 --input 32x32 --classes 62
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from distlenet.commands.options import add_json, add_trust, make_trust, picture_size, whole
from distlenet.paths import code_path, path

if TYPE_CHECKING:
    from distlenet.nn import Net
    from distlenet.nn.inspection import Row


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "model",
        nargs="?",
        default="lenet5",
        type=code_path,
        help="network by name, your own (FILE.py:FUNCTION or MODULE:FUNCTION), or run directory (default: %(default)s)",
    )
    add_trust(parser, dest="code")
    parser.add_argument(
        "--activation", default="relu", metavar="NAME", help="of a network by name (default: %(default)s)"
    )
    parser.add_argument(
        "--pooling", default="average", metavar="NAME", help="of a network by name (default: %(default)s)"
    )
    parser.add_argument(
        "--input", default="28x28", type=picture_size, metavar="ROWSxCOLUMNS", help="size of a picture (default: 28x28)"
    )
    parser.add_argument(
        "--classes", default=10, type=whole(2), metavar="N", help="number of classes (default: %(default)s)"
    )
    parser.add_argument("--data", type=path, metavar="FILE", help="take both from this dataset file")
    add_json(parser, "print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.config import Config
    from distlenet.errors import UsageError
    from distlenet.nn import build_net, outline

    if Path(args.model).is_dir():
        from distlenet.runs.choice import find_checkpoint

        checkpoint = find_checkpoint(args.model, trust=make_trust(args, args.code))
        net, name = checkpoint.build_net(), checkpoint.config.model
        return show(net, name, outline(net), args.json)
    if args.code and args.model != "lenet5":  # the default
        raise UsageError(f"summary --model needs a run directory, got {args.model}: name only one network")
    args.model = args.code or args.model
    if args.model.endswith(".py"):
        raise UsageError(f"summary {args.model}: name the function too, for example {args.model}:build")
    size, classes = args.input, args.classes
    if args.data:
        from distlenet.data.file.dataset_file import open_digit_file

        digits = open_digit_file(args.data)
        size, classes = digits.image_shape, len(digits.class_names)
    config = Config(model=args.model, activation=args.activation, pooling=args.pooling)
    net = build_net(config, (1, *size), classes, make_trust(args, args.model))
    return show(net, args.model, outline(net), args.json)


def show(net: "Net", name: str, rows: "list[Row]", as_json: bool) -> int:
    """Show the layers; returns 0."""
    from dataclasses import asdict

    from distlenet.ui.console import make_console
    from distlenet.ui.tables import outline_table

    if as_json:
        facts = {"model": name, "input": list(net.input_shape), "parameters": net.size}
        print(json.dumps(facts | {"layers": [asdict(row) for row in rows]}))
    else:
        make_console().print(outline_table(rows, net.input_shape))
    return 0
