"""``distlenet compare``: recipes, models or settings side by side, each under several seeds.

distlenet compare activations --seeds 3 --run runs/activations --recipe fast
distlenet compare standard slow:lr=0.05 mine:model=mynet.py:build --run runs/c
mpirun -n 4 distlenet compare models --run runs/m    all ranks train each run
"""

import argparse
import re
from typing import TYPE_CHECKING

from distlenet.commands.options import Parser, whole
from distlenet.commands.repeat import add_options, run_trials
from distlenet.commands.run_options import given_settings, make_options
from distlenet.config import RUN

if TYPE_CHECKING:
    from distlenet.config import Config
    from distlenet.series.trials import Trial


def configure(parser: Parser) -> None:
    """Add the options."""
    parser.usage = "%(prog)s ITEM ... --run DIR [options]"
    parser.add_argument(
        "items",
        nargs="+",
        metavar="ITEM",
        help="a recipe; a model; NAME:key=value,key=value; or a group: activations, poolings, models, optimizers, "
        "outputs",
    )
    parser.section(RUN).add_argument(
        "--seeds",
        type=whole(1),
        default=3,
        metavar="K",
        help="seeds of each item, from --seed on (default: %(default)s)",
    )
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.series.table import comparison_rows

    seeds = f"{args.seeds} seed{'s' * (args.seeds > 1)} each"
    return run_trials(args, lambda: make_trials(args), comparison_rows, f"{' '.join(args.items)}: {seeds}")


def configs(args: argparse.Namespace) -> "list[Config]":
    """Return the settings of the runs."""
    return [trial.config for trial in make_trials(args)]


def make_trials(args: argparse.Namespace) -> "list[Trial]":
    """Return the runs: all items under the first seed, then all under the next: an early look is a fair one."""
    from distlenet.errors import UsageError
    from distlenet.recipes import build_config
    from distlenet.series.comparison import parse_items
    from distlenet.series.trials import Trial

    items, flags = parse_items(args.items), given_settings(args)
    folders = {re.sub(r"[^\w.=-]+", "-", item.label): item for item in items}
    if len(folders) < len(items):
        raise UsageError("two items would have the same directory: give one of them a name, NAME:key=value,...")
    first = build_config(args.recipe, args.config, flags).seed
    return [
        Trial(
            item.label,
            seed,
            make_options(
                args,
                f"{args.run_directory}/{folder}/seed-{seed}",
                item.recipe or args.recipe,
                flags | item.settings | {"seed": seed},
            ),
        )
        for seed in range(first, first + args.seeds)
        for folder, item in folders.items()
    ]
