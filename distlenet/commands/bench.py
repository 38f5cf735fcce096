"""``distlenet bench``: what this machine reaches, compared with PyTorch where it is installed.

distlenet bench --rounds 4
distlenet bench race --seeds 5    or another part, with its own options
"""

import argparse
import importlib
import json
from typing import Any

from distlenet.commands.options import Parser, add_json, whole

PARTS = {
    "race": "train a recipe here and in PyTorch's DistributedDataParallel, seed by seed",
    "growth": "time and memory of a step on larger and larger training sets",
    "costmodel": "what a step would cost on many ranks and other networks, see bench/SCALING.md",
}


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
        help="most ranks compared with one; 1: skip (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=whole(1),
        default=12,
        metavar="N",
        help="how often the comparisons take turns (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=whole(1),
        default=200,
        metavar="N",
        help="timed steps of each job of ranks (default: %(default)s)",
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
    """Measure one core, then jobs of ranks."""
    from statistics import median

    from distlenet.bench import pytorch
    from distlenet.bench.engine import compare_engines
    from distlenet.bench.timing import compare_jobs
    from distlenet.numerics import numerics

    beside_pytorch = pytorch.available() and not args.no_pytorch
    report = {"batch_size": args.batch_size, "shards": args.shards, "numerics": numerics()}
    report |= compare_engines(args.batch_size, args.shards, args.rounds, beside_pytorch)
    if args.ranks > 1:
        jobs = compare_jobs(
            args.ranks, max(1, args.rounds // 4), args.steps, args.batch_size, args.shards, beside_pytorch
        )
        many = jobs[str(args.ranks)]
        sizes = [name for name in jobs if name != "ddp"]
        rate = {name: median(job["images_per_second"] for job in jobs[name]) for name in sizes}
        report["ranks"] = args.ranks
        report["jobs"] = jobs
        ratios = report["ratios"]
        ratios |= {f"scaling_{name}_ranks": rate[name] / rate["1"] for name in sizes[1:]}
        ratios["reduce_share"] = median(job["reduce_share"] for job in many)
        ratios["exchange_vs_allreduce"] = median(
            job["exchange_microseconds"] / job["allreduce_microseconds"] for job in many
        )
        if "ddp" in jobs:
            best = max(median(job[layout] for job in jobs["ddp"]) for layout in jobs["ddp"][0])
            report["ddp_images_per_second"] = best
            ratios[f"train_{args.ranks}_ranks_vs_ddp"] = rate[str(args.ranks)] / best
        report["images_per_second"] |= {f"rank{'s' * (name != '1')}: {name}": rate[name] for name in sizes}
    return report
