"""``distlenet verify``: recompute a run from its own files, in one process or under mpirun, and compare the bits.

distlenet verify runs/a --data datasets/mnist.h5
mpirun -n 2 distlenet verify runs/a --full --certificate a.json

A run is cut into stretches, from each checkpoint to the next: train it with
--keep-every N to have many. Exit code 0: verified; 19: refused, since files
were edited or bits differ; 20: it cannot be judged here.
"""

import argparse
import json
from typing import TYPE_CHECKING, Any

from distlenet.commands.options import add_data, add_json, add_overwrite, add_trust, make_trust, whole
from distlenet.paths import as_path, path
from distlenet.streams import note, say

if TYPE_CHECKING:
    from distlenet.parallel import Communicator


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("run_directory", type=as_path, metavar="RUN", help="directory of a run that has ended")
    add_data(parser)
    much = parser.add_mutually_exclusive_group()
    much.add_argument(
        "--samples", type=whole(1), default=3, metavar="K", help="stretches, drawn at random (default: %(default)s)"
    )
    much.add_argument("--full", action="store_true", help="all stretches: the whole run")
    parser.add_argument("--certificate", type=path, metavar="FILE", help="write the certificate (JSON) to this file")
    add_overwrite(parser, "the file of --certificate, whatever it holds")
    add_trust(parser)
    add_json(parser, "print the certificate (JSON) instead of a table")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.training.signals import Signals

    with Signals() as signals:  # before MPI starts
        from distlenet.parallel.agreement import on_root
        from distlenet.parallel.connect import run_ranks
        from distlenet.runs.certificate import error
        from distlenet.runs.experiment import RunOptions
        from distlenet.runs.verification import verify

        def work(comm: "Communicator") -> None:
            signals.listen()
            on_root(comm, lambda: check_certificate(args))
            options = RunOptions(args.data, str(args.run_directory), trust=make_trust(args, args.model))
            certificate = verify(options, None if args.full else args.samples, comm, signals, note)
            on_root(comm, lambda: show(args, certificate))
            if failure := error(certificate):
                raise failure.of_every_rank()

        return run_ranks(work, args.debug)


def check_certificate(args: argparse.Namespace) -> None:
    """Raise RunDirectoryError if the file of --certificate exists: now, not after hours of computing."""
    from distlenet.errors import RunDirectoryError

    if args.certificate and not args.overwrite:
        from distlenet.bounded import kind

        if kind(args.certificate):
            raise RunDirectoryError(f"{args.certificate} exists: choose another --certificate, or add --overwrite")


def show(args: argparse.Namespace, certificate: dict[str, Any]) -> None:
    """Print the outcome, as a table or as JSON, and write the certificate."""
    from distlenet import atomic
    from distlenet.errors import RunDirectoryError

    text = json.dumps(certificate, indent=2)
    if args.certificate:
        atomic.write(args.certificate, text + "\n", RunDirectoryError)
    if args.json:
        print(text)
        return
    from distlenet.ui.console import make_console
    from distlenet.ui.tables import stretch_table

    for about in certificate["notes"]:
        note(about)
    make_console().print(stretch_table(certificate["stretches"]))
    if certificate["verdict"].startswith("verified"):
        say(certificate["sentence"])
