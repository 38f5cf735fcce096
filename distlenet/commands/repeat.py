"""``distlenet repeat``: the same training under several seeds: mean, spread, confidence, defective runs.

distlenet repeat -n 5 --run runs/five --recipe fast
mpirun -n 4 distlenet repeat -n 5 --run runs/five    all ranks train each run
"""

import argparse
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distlenet.commands.options import Parser, add_json, whole
from distlenet.commands.run_options import add_run, given_settings, make_options
from distlenet.config import RUN, Config
from distlenet.errors import RunDirectoryError, UsageError
from distlenet.recipes import build_config
from distlenet.streams import say

if TYPE_CHECKING:
    from distlenet.parallel import Communicator
    from distlenet.series.outcome import Outcome
    from distlenet.series.table import Rows
    from distlenet.series.trials import Trial


def configure(parser: Parser) -> None:
    """Add the options."""
    parser.usage = "%(prog)s -n K --run DIR [options]"
    parser.section(RUN).add_argument(
        "-n", "--seeds", type=whole(1), required=True, metavar="K", help="number of seeds, from --seed on"
    )
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.series.table import repeat_rows

    return run_trials(args, lambda: make_trials(args), repeat_rows, f"{args.seeds} seeds of {name_of(args)}")


def configs(args: argparse.Namespace) -> list[Config]:
    """Return the settings of the runs."""
    return [trial.config for trial in make_trials(args)]


def make_trials(args: argparse.Namespace) -> "list[Trial]":
    """Return the runs: seeds from --seed on."""
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
    """Return a short name for the series: recipe and settings."""
    given = ", ".join(f"{name}={value}" for name, value in given_settings(args).items() if name != "seed")
    base = args.recipe or args.config or "standard"
    return f"{base} with {given}" if given else base


def add_options(parser: Parser) -> None:
    """Add the options that both commands have."""
    add_run(
        parser,
        "directory for the runs and the results",
        ("brief", "auto", "live", "plain", "quiet"),
        "brief, the default: one line per run, and the progress of the series; the others show each run as train does",
        add_own,
    )


def add_own(run: argparse._ArgumentGroup) -> None:
    """Add what only repeat and compare have to the group "run"."""
    run.add_argument(
        "--side-by-side",
        type=whole(1),
        default=1,
        metavar="G",
        help="cut the ranks into G teams that train different runs at the same time (default: one team)",
    )
    run.add_argument(
        "--keep-defective", action="store_true", help="let defective runs (not finite, or at chance) count in the means"
    )
    add_json(run, "print one JSON object at the end instead of a table")


def run_trials(
    args: argparse.Namespace,
    make_trials: Callable[[], "list[Trial]"],
    make_rows: Callable[[dict[str, Any]], "Rows"],
    title: str,
) -> int:
    """Train the trials and show their results; return the exit code. An interrupted series is resumed."""
    from distlenet.parallel.agreement import in_agreement, on_root
    from distlenet.parallel.connect import run_ranks
    from distlenet.series.directory import SeriesDirectory
    from distlenet.series.trials import run_in_teams
    from distlenet.training.signals import Signals
    from distlenet.ui.series import SeriesView

    def work(comm: "Communicator") -> int:
        def tell(outcome: "Outcome", kept: bool) -> None:
            view.tell(outcome, kept)
            try:
                directory.save()  # an interrupted series has its results too
            except RunDirectoryError as error:  # tried again after the next run, and at the end
                say(f"warning: {error}: the series continues")

        def conclude() -> None:
            results, rows = directory.save()
            if args.json:
                print(json.dumps(results))
            else:
                view.conclude(results, rows)
                say(f"results and runs: {args.run_directory}")

        signals.listen()
        with ExitStack() as displays:
            with in_agreement(comm):
                if args.side_by_side > comm.size:
                    raise UsageError(
                        f"--side-by-side is {args.side_by_side}, but there are only {comm.size} ranks: start "
                        "more by mpirun, or leave it out"
                    )
                trials, folder = make_trials(), Path(args.run_directory)
                directory = SeriesDirectory(folder, trials, make_rows, title, args.keep_defective)
                view = SeriesView(trials, args.side_by_side, args.display, args.json, args.debug, displays)
            on_root(comm, directory.check)
            code = run_in_teams(trials, args.side_by_side, comm, signals, view.make_displays, tell)
            if code == 0:
                on_root(comm, conclude)
        return code

    with Signals() as signals:  # before MPI starts
        return run_ranks(work, args.debug)
