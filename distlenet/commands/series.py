"""What ``repeat`` and ``compare`` have in common: options, the runs, the results."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distlenet.commands.train import add_settings, at_least, patience
from distlenet.commands.trust import add_trust, make_trust
from distlenet.config import RECIPES, Config, build_config
from distlenet.errors import DistlenetError, RunDirectoryError, UsageError, report
from distlenet.paths import code_path, path
from distlenet.streams import say

if TYPE_CHECKING:
    from distlenet.series.outcome import Outcome
    from distlenet.series.trials import Trial
    from distlenet.training.experiment import RunOptions


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that both commands have."""
    parser.add_argument(
        "--data", default="datasets/mnist.h5", type=path, metavar="FILE", help="dataset file (default: %(default)s)"
    )
    parser.add_argument(
        "--run",
        required=True,
        type=path,
        metavar="DIR",
        dest="run_directory",
        help="directory for the runs and the results",
    )
    parser.add_argument(
        "--recipe", metavar="NAME", help=f"settings to start from: {', '.join(RECIPES)} (default: standard)"
    )
    parser.add_argument("--config", type=path, metavar="FILE.toml", help="settings that override the recipe's")
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
    parser.add_argument(
        "--tensorboard", action="store_true", help="write event files for TensorBoard to each run's directory"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end instead of a table")
    parser.add_argument(
        "--display",
        choices=("brief", "auto", "live", "plain", "quiet"),
        default="brief",
        help="brief: one line a run, and where the series stands; the others show each run as train does",
    )
    add_trust(parser, model=False)
    add_settings(parser)


def make_options(args: argparse.Namespace, directory: str, recipe: str | None, flags: dict[str, Any]) -> "RunOptions":
    """Return the options of one run of the series."""
    from distlenet.training.experiment import RunOptions

    return RunOptions(
        data=args.data,
        run_directory=directory,
        recipe=recipe,
        config_file=args.config,
        flags=flags,
        stall_after=patience(),
        debug=args.debug,
        tensorboard=args.tensorboard,
        trust=make_trust(args, code_path(flags["model"]) if "model" in flags else None),
    )


def trial_configs(trials: "list[Trial]") -> list[Config]:
    """Return the settings of the runs ``trials``."""
    runs = [trial.options for trial in trials]
    return [build_config(options.recipe, options.config_file, options.flags) for options in runs]


def run_trials(
    args: argparse.Namespace, make_trials: Callable[[], "list[Trial]"], make_rows: Callable[[dict], list], title: str
) -> int:
    """Train the trials and show what came of them; return the exit code. A series is gone on with if it was begun."""
    from distlenet.parallel.agreement import all_or_nothing, in_agreement, on_root
    from distlenet.parallel.launcher import connect
    from distlenet.series.trials import run_in_teams
    from distlenet.training.stopping import Signals

    with Signals() as signals:  # before MPI starts
        comm = connect()
        signals.listen()
        try:
            with all_or_nothing(comm, args.debug), ExitStack() as displays:
                with in_agreement(comm):
                    if args.side_by_side > comm.size:
                        raise UsageError(
                            f"--side-by-side is {args.side_by_side}, but there are only {comm.size} ranks: start "
                            "more by mpirun, or leave it out"
                        )
                    shown = SeriesDisplay(args, make_trials(), make_rows, title, displays)
                on_root(comm, shown.check)
                code = run_in_teams(shown.trials, args.side_by_side, comm, signals, shown.make_displays, shown.tell)
                if code == 0:
                    on_root(comm, shown.conclude)
        except DistlenetError as error:
            if args.debug or not error.agreed:
                raise
            code = report(error)
    return comm.leave(code)


class SeriesDisplay:
    """What a root shows and saves of the series; ``displays`` holds that of the run that goes on."""

    def __init__(
        self,
        args: argparse.Namespace,
        trials: "list[Trial]",
        make_rows: Callable[[dict], list],
        title: str,
        displays: ExitStack,
    ) -> None:
        from distlenet.ui.console import make_console
        from distlenet.ui.series_line import Course

        self.trials = trials
        self._args, self._make_rows, self._title, self._displays = args, make_rows, title, displays
        self._places = {(trial.setting, trial.seed): place for place, trial in enumerate(trials, 1)}
        self._console = make_console()
        self._course = Course([trial.setting for trial in trials], args.side_by_side)

    def check(self) -> None:
        """Raise RunDirectoryError if the series must not write to its directory."""
        from distlenet.series.directory import check_series

        check_series(Path(self._args.run_directory), [Path(trial.options.run_directory) for trial in self.trials])

    def make_displays(self, trial: "Trial") -> list:
        """Return the listeners of one run."""
        from distlenet.ui.display import Guarded, make_display
        from distlenet.ui.series_line import SeriesLine
        from distlenet.ui.terminal import is_live

        again, as_json = "the same command", self._args.json
        if self._args.display != "brief" and not as_json:
            display = make_display(self._args.display, again=again)
        else:  # with --json, stdout is for the result; teams would draw over each other
            stream = sys.stderr if as_json else sys.stdout
            live = is_live(stream) and self._args.side_by_side == 1
            name, place = f"{trial.setting} seed {trial.seed}", self._places[trial.setting, trial.seed]
            quiet = as_json and not live
            display = SeriesLine(self._course, place, name, again=again, live=live, quiet=quiet, stream=stream)
        self._begun = time.monotonic()
        return [self._displays.enter_context(display if self._args.debug else Guarded(display))]

    def tell(self, outcome: "Outcome", kept: bool) -> None:
        """Show that a run is over, and save what is there so far: an interrupted series has its results too."""
        from distlenet.series.table import line

        self._displays.close()
        place = self._places[outcome.setting, outcome.seed]
        self._course.add(place, None if kept else time.monotonic() - self._begun)
        try:
            self._save()
        except RunDirectoryError as error:  # tried again after the next run, and at the end
            say(f"warning: {error}: the series continues")
        if self._args.display != "quiet" and not self._args.json:
            say(f"{place}/{len(self.trials)} {line(asdict(outcome), kept)}")

    def conclude(self) -> None:
        """Show the table of the whole series."""
        from distlenet.series.table import show

        results, rows = self._save()
        if self._args.json:
            print(json.dumps({"title": self._title, **results}))
        else:
            show(self._console, results, rows)
            say(f"results and runs: {self._args.run_directory}")

    def _save(self) -> tuple[dict[str, Any], list]:
        from distlenet.series.table import save
        from distlenet.series.trials import read_outcomes, summarize_series

        results = summarize_series(read_outcomes(self.trials), self._args.keep_defective)
        rows = self._make_rows(results)
        save(self._args.run_directory, results, rows, self._title)
        return results, rows
