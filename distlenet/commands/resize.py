"""``distlenet resize``: change the number of ranks of a training while it runs.

distlenet resize runs/a 4

The training was started by `distlenet launch` with at least two ranks;
run this on the host of that command. The number changes between two steps, once
new ranks have started, and the run's own display reports it. If a rank cannot
join, the display says why; the same command tries again.
"""

import argparse
from typing import TYPE_CHECKING

from distlenet.commands.options import whole
from distlenet.paths import path

if TYPE_CHECKING:
    from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("run_directory", type=path, metavar="RUN", help="directory of the run, its --run")
    parser.add_argument("ranks", type=whole(1), metavar="N", help="number of ranks, at most the run's --shards")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.errors import LaunchError
    from distlenet.launching.door import ask
    from distlenet.runs.directory import RunDirectory
    from distlenet.runs.resume import settings_of

    directory = RunDirectory(args.run_directory)
    folder = folder_of(directory.path, args.ranks)
    directory.check()
    ranks = f"{args.ranks} rank{'s' if args.ranks > 1 else ''}"
    shards = (settings_of(directory) or {}).get("shards")
    if shards and args.ranks > shards:
        raise LaunchError(
            f"{ranks} for {directory.path}, but its training set is cut into {shards} shards, and each rank needs one: "
            f"expected at most {shards} ranks"
        )
    ask(folder, args.ranks)
    print(f"{directory.path} changes to {ranks} between two steps: the run's own display reports it, or why not")
    return 0


def folder_of(run: "Path", ranks: int) -> "Path":
    """Return the private folder of the job that trains in the directory ``run``.

    Raises RunDirectoryError if no job of `distlenet launch` does, LaunchError if one does on another host.
    """
    from pathlib import Path

    from distlenet.errors import LaunchError, RunDirectoryError
    from distlenet.processes import is_alive
    from distlenet.runs.lock import DOOR, JOB, is_mark, notes

    expected = "expected the --run of a training that `distlenet launch` has started"
    if not run.is_dir():
        raise RunDirectoryError(f"there is no directory {run}: {expected}")
    if not is_mark(run / "lock"):
        raise RunDirectoryError(f"{run} is not a run directory: {expected}")
    found = notes(run / "lock")
    job, folder = found.get(JOB), found.get(DOOR)
    resume = f"on {ranks} ranks with `distlenet launch -n {ranks} train ... --run {run} --resume`"
    if not job or not folder:
        raise RunDirectoryError(
            f"the run in {run} was not started by `distlenet launch`, so its number of ranks cannot change: if it is "
            f"in progress, stop it; then resume it {resume}"
        )
    alive = is_alive(job)
    if alive is None:
        raise LaunchError(f"the launcher of the run in {run} is on another host, or in another container: resize there")
    if not alive:
        raise RunDirectoryError(f"the run in {run} is not in progress: resume it {resume}")
    return Path(folder)
