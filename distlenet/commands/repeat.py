"""``distlenet repeat``: the same training under several seeds: mean, spread, confidence, defective runs.

distlenet repeat -n 5 --run runs/five --recipe fast
mpirun -n 4 distlenet repeat -n 5 --run runs/five     all ranks train each run together
"""

import argparse
from typing import TYPE_CHECKING

from distlenet.commands.series import add_options, make_options, run_trials, trial_configs
from distlenet.commands.train import at_least, given_settings

if TYPE_CHECKING:
    from distlenet.config import Config
    from distlenet.series.trials import Trial


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("-n", "--seeds", type=at_least(1), required=True, metavar="K", help="number of seeds")
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.series.table import repeat_rows

    return run_trials(args, lambda: make_trials(args), repeat_rows, f"{args.seeds} seeds of {name_of(args)}")


def configs(args: argparse.Namespace) -> "list[Config]":
    """Return the settings of the runs."""
    return trial_configs(make_trials(args))


def make_trials(args: argparse.Namespace) -> "list[Trial]":
    """Return the runs: seeds from --seed on."""
    from distlenet.config import build_config
    from distlenet.series.trials import Trial

    flags = given_settings(args)
    first = build_config(args.recipe, args.config, flags).seed
    return [
        Trial(
            name_of(args),
            seed,
            make_options(args, f"{args.run_directory}/seed-{seed}", args.recipe, flags | {"seed": seed}),
        )
        for seed in range(first, first + args.seeds)
    ]


def name_of(args: argparse.Namespace) -> str:
    """Return in a few words what is repeated."""
    given = ", ".join(f"{name}={value}" for name, value in given_settings(args).items() if name != "seed")
    base = args.recipe or args.config or "standard"
    return f"{base} with {given}" if given else base
