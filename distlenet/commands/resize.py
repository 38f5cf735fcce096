"""``distlenet resize``: change the number of ranks of a run that ``distlenet launch`` started, while it trains.

distlenet resize runs/a 4
"""

import argparse

from distlenet.commands.options import whole
from distlenet.paths import path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("run_directory", type=path, metavar="RUN", help="directory of the run")
    parser.add_argument("ranks", type=whole(1), metavar="N", help="number of ranks, at most that of the shards")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from pathlib import Path

    from distlenet.errors import LaunchError, RunDirectoryError
    from distlenet.launching.door import ask
    from distlenet.processes import is_alive
    from distlenet.runs.directory import RunDirectory
    from distlenet.runs.lock import DOOR, JOB, notes
    from distlenet.runs.resume import settings_of

    directory = RunDirectory(args.run_directory)
    directory.check()
    found = notes(directory.path / "lock")
    job, folder = found.get(JOB), found.get(DOOR)
    if not job or not folder:
        raise RunDirectoryError(
            f"no run that `distlenet launch` started is in progress in {directory.path}: only such a run can change "
            "its number of ranks"
        )
    alive = is_alive(job)
    if alive is None:
        raise LaunchError(f"the launcher of the run in {directory.path} is on another host: resize the run there")
    if not alive:
        raise RunDirectoryError(f"the run in {directory.path} is not in progress: launch it with the ranks you want")
    shards = (settings_of(directory) or {}).get("shards")
    if shards and args.ranks > shards:
        raise LaunchError(f"{args.ranks} ranks, but the run has {shards} shards: expected at most {shards} ranks")
    ask(Path(folder), args.ranks)
    ranks = f"{args.ranks} rank{'s' if args.ranks > 1 else ''}"
    print(f"{directory.path} changes to {ranks} between two steps: the display of the run reports it")
    return 0
