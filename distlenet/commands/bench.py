"""``distlenet bench``: what this machine reaches, compared with PyTorch and others where they are installed.

distlenet bench --rounds 4
distlenet bench race --seeds 5    or another part, with its own options
"""

import argparse
import importlib
import json
import sys
from typing import Any

from distlenet.commands.options import Parser, add_json, whole
from distlenet.errors import nearest

PARTS = {
    "race": "train a recipe here and in PyTorch's DistributedDataParallel, seed by seed",
    "growth": "time and memory of a step on larger and larger training sets",
    "costmodel": "what a step would cost on many ranks and other networks, see bench/SCALING.md",
}


PEERS = ("torch", "tensorflow", "jax", "onnxruntime", "openvino")


def peers(text: str) -> tuple[str, ...]:
    """Return the names in ``text``: "all", "none", or some of PEERS, separated by commas."""
    names = {"all": PEERS, "none": ()}.get(text, tuple(text.split(",")))
    for name in names:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(
                f"is {text!r}, expected all, none, or some of {','.join(PEERS)}{nearest(name, PEERS)}"
            )
    return names


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--batch-size", type=whole(1), default=256, metavar="N", help="global batch (default: %(default)s)"
    )
    parser.add_argument(
        "--shards", type=whole(1), default=8, metavar="N", help="leaves of a step (default: %(default)s)"
    )
    parser.add_argument(
        "--ranks",
        type=whole(1),
        default=2,
        metavar="N",
        help="most ranks, or threads of a peer, compared with one; 1: skip (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=whole(1),
        default=12,
        metavar="N",
        help="how often all take turns (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=whole(1),
        default=200,
        metavar="N",
        help="most timed steps of each (default: %(default)s)",
    )
    parser.add_argument(
        "--peers",
        type=peers,
        default=PEERS,
        metavar="NAMES",
        help=f"compare with these: all, none, or some of {','.join(PEERS)} (default: all that are installed)",
    )
    parser.add_argument("--no-pytorch", action="store_true", help="leave PyTorch out, though it is installed")
    add_json(parser)
    parts = "; ".join(f"{name}: {text}" for name, text in PARTS.items())
    parser.add_argument("part", nargs="?", choices=PARTS, metavar="PART", help=f"measure something else. {parts}")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="options of PART, such as --help")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    if args.part:
        part = importlib.import_module(f"distlenet.bench.{args.part}")
        layout = argparse.RawDescriptionHelpFormatter
        parser = Parser(prog=f"distlenet bench {args.part}", description=part.__doc__, formatter_class=layout)
        part.configure(parser)
        return int(part.run(parser.parse(args.arguments)))
    report = measure(args)
    if args.json:
        print(json.dumps(report))
    else:
        from distlenet.ui.machine import show_bench

        show_bench(report)
    return 0


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure this machine; returns the report. The progress is shown on a terminal."""
    from distlenet.bench.engine import measure
    from distlenet.bench.peers.catalogue import choose

    def tell(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    libraries, missing = choose(name for name in args.peers if not (name == "torch" and args.no_pytorch))
    report = measure(libraries, args.batch_size, args.shards, args.ranks, args.rounds, args.steps, tell)
    tell("")
    return {**report, "missing": missing}
