"""What ``repeat`` and ``compare`` have in common: options, the runs, the results."""

import argparse
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from distlenet.commands.train import add_settings, at_least, patience
from distlenet.config import RECIPES
from distlenet.errors import DistlenetError, UsageError, report

if TYPE_CHECKING:
    from distlenet.training.experiment import Options
    from distlenet.training.outcome import Outcome
    from distlenet.training.series import Trial


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that both commands have."""
    parser.add_argument(
        "--data", default="datasets/mnist.h5", metavar="FILE", help="dataset file (default: %(default)s)"
    )
    parser.add_argument(
        "--run", required=True, metavar="DIR", dest="run_directory", help="directory for the runs and the results"
    )
    parser.add_argument(
        "--recipe", metavar="NAME", help=f"settings to start from: {', '.join(RECIPES)} (default: standard)"
    )
    parser.add_argument("--config", metavar="FILE.toml", help="settings that override the recipe's")
    parser.add_argument(
        "--keep-defective", action="store_true", help="let defective runs (not finite, or at chance) count in the means"
    )
    parser.add_argument(
        "--side-by-side",
        type=at_least(1),
        default=1,
        metavar="G",
        help="cut the ranks into G teams that train different runs at the same time (default: all train each together)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end instead of a table")
    parser.add_argument(
        "--display",
        choices=("brief", "auto", "live", "plain", "quiet"),
        default="brief",
        help="brief: one line a run; the others show each run as train does",
    )
    add_settings(parser)


def make_options(args: argparse.Namespace, directory: str, recipe: str | None, flags: dict[str, Any]) -> "Options":
    """Return the options of one run of the series."""
    from distlenet.training.experiment import Options

    return Options(
        data=args.data,
        run_directory=directory,
        recipe=recipe,
        config_file=args.config,
        flags=flags,
        stall_after=patience(),
        debug=args.debug,
    )


def run_trials(
    args: argparse.Namespace, make_trials: Callable[[], "list[Trial]"], make_rows: Callable[[dict], list], title: str
) -> int:
    """Train the trials and show what came of them; return the exit code. A series is gone on with if it was begun."""
    from distlenet.parallel.launcher import all_or_nothing, connect, in_agreement, on_root
    from distlenet.training.series import read_outcomes, run_in_teams, summarize_series
    from distlenet.training.stopping import Signals
    from distlenet.ui import series_view
    from distlenet.ui.tables import make_console

    with Signals() as signals:  # before MPI starts
        comm = connect()
        try:
            with all_or_nothing(comm, args.debug), ExitStack() as displays:
                with in_agreement(comm):
                    if args.side_by_side > comm.size:
                        raise UsageError(
                            f"--side-by-side is {args.side_by_side}, but there are only {comm.size} ranks: start "
                            "more by mpirun, or leave it out"
                        )
                    trials = make_trials()
                places = {(trial.setting, trial.seed): place for place, trial in enumerate(trials, 1)}
                console = make_console()

                def save() -> tuple[dict, list]:
                    results = summarize_series(read_outcomes(trials), args.keep_defective)
                    rows = make_rows(results)
                    series_view.save(args.run_directory, results, rows, title)
                    return results, rows

                def tell(outcome: "Outcome", kept: bool) -> None:
                    save()  # what is there so far: an interrupted series has its results too
                    if args.display != "quiet" and not args.json:
                        place = places[outcome.setting, outcome.seed]
                        console.print(f"{place}/{len(trials)} {series_view.line(asdict(outcome), kept)}")

                def conclude() -> None:
                    results, rows = save()
                    if args.json:
                        print(json.dumps({"title": title, **results}))
                    else:
                        series_view.show(console, results, rows)
                        console.print(f"results and runs: {args.run_directory}")

                code = run_in_teams(
                    trials, args.side_by_side, comm, signals, lambda: make_displays(args, displays), tell
                )
                if code == 0:
                    on_root(comm, conclude)
        except DistlenetError as error:
            if args.debug or not error.agreed:
                raise
            code = report(error)
    return comm.leave(code)


def make_displays(args: argparse.Namespace, displays: ExitStack) -> list:
    """Return what the root shows of one run; the run before has given the terminal back."""
    from distlenet.ui.display import make_display
    from distlenet.ui.series_view import Brief

    displays.close()
    brief = args.display == "brief" or args.json
    return [displays.enter_context(Brief() if brief else make_display(args.display))]
