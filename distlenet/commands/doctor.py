"""``distlenet doctor``: facts about this machine and launch, and what to fix.

distlenet doctor
mpirun -n 4 distlenet doctor --run runs/a --json

The exit code is 7 if ``train``, started in the same way, would refuse to start,
19 if the self-test finds that this machine computes wrong results, else 0.
"""

import argparse
import json
import os
import sys
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from distlenet.commands.options import add_json
from distlenet.paths import path

if TYPE_CHECKING:
    from distlenet.errors import LaunchError
    from distlenet.parallel import Communicator


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--run",
        default=".",
        type=path,
        metavar="DIR",
        dest="run_directory",
        help="test file locks in this directory (default: %(default)s)",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.doctor.mpirun import check_before_start
    from distlenet.errors import LaunchError
    from distlenet.parallel import Serial
    from distlenet.parallel.connect import connect, launched_rank, run_ranks

    comm: Communicator
    misfit: LaunchError | None = None
    try:
        check_before_start(os.environ)
        comm = connect()
    except LaunchError as error:
        misfit, comm = error, Serial()
        if launched_rank() != 0:
            return 0  # each process believes it is alone: the first one reports, and its exit code is the job's
    return run_ranks(lambda comm: examine(args, comm, misfit), args.debug, comm)


def examine(args: argparse.Namespace, comm: "Communicator", misfit: "LaunchError | None") -> int:
    """Show the report, on the root; other ranks only send their facts. Return the exit code."""
    from distlenet.doctor.pace import measure
    from distlenet.doctor.rank import describe_rank
    from distlenet.doctor.self_test import self_test
    from distlenet.errors import VerificationError
    from distlenet.parallel.agreement import in_agreement, on_root

    with in_agreement(comm):
        facts = {**describe_rank(), "self_test": self_test()}
    ranks, message = comm.allgather(facts), str(misfit) if misfit else None
    paces = measure(comm) if comm.size > 1 else []
    on_root(comm, lambda: show(_examine_job(args.run_directory, ranks, paces, message), args.json))
    failed = VerificationError.exit_code if any(rank["self_test"]["culprit"] for rank in ranks) else 0
    return misfit.exit_code if misfit else failed


def show(report: dict[str, Any], as_json: bool) -> None:
    """Print the report, as tables or one JSON object."""
    if as_json:
        print(json.dumps(report))
        return
    from distlenet.ui.machine import show_doctor

    show_doctor(report)


def _examine_job(
    run_directory: str, ranks: list[dict[str, Any]], paces: list[dict[str, Any]], misfit: str | None
) -> dict[str, Any]:
    from distlenet.data.file.hdf5 import existing_folder, try_locks
    from distlenet.doctor.advice import advise
    from distlenet.doctor.mpirun import ask_library, belongs, describe_mpirun, fault_tolerance
    from distlenet.doctor.pace import judge, times
    from distlenet.parallel.connect import detect
    from distlenet.paths import home
    from distlenet.ui.terminal import explain

    launch, library, mpirun = detect(), ask_library(), describe_mpirun()
    folder = existing_folder(run_directory)
    mode, why = explain(sys.stdout)
    report = {
        "launcher": launch.launcher if launch else None,
        "launched": launch.size if launch else None,
        "misfit": misfit,
        "mpi": library,
        "mpirun": mpirun,
        "home": str(home() or ""),
        "mpirun_belongs": belongs(library, mpirun),
        "fault_tolerance": fault_tolerance(library, launch is not None, os.environ),
        "ranks": [rank | {"pace": times(pace)} for rank, pace in zip_longest(ranks, paces)],
        "slowest": judge(paces) if paces else None,
        "locking": {"folder": str(folder), **try_locks(folder)},
        "terminal": {"mode": mode, "why": why},
    }
    return report | {"advice": advise(report, os.environ)}
