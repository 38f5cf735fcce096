"""``distlenet launch``: start ranks with the right mpirun and flags, and keep the run alive.

distlenet launch -n 4 train --data datasets/mnist.h5 --run runs/a
"""

import argparse

COMMANDS = ("train", "evaluate", "repeat", "compare", "doctor")  # their ranks work together; others would run n times


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("-n", "--ranks", type=int, required=True, help="number of processes")
    parser.add_argument("--hosts", metavar="A:2,B:2", help="hosts, with the ranks each takes (default: this one)")
    parser.add_argument(
        "--max-restarts", type=int, default=0, metavar="K", help="restarts of a job that died as a whole (%(default)s)"
    )
    parser.add_argument(
        "--stall-after",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="a rank silent for so long is dropped or, without fault tolerance, the job ended (%(default)s)",
    )
    parser.add_argument("--no-fault-tolerance", action="store_true", help="end the job when a rank is lost")
    parser.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        metavar="COMMAND ...",
        help=f"one of {', '.join(COMMANDS)}, and its options",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.errors import UsageError, nearest
    from distlenet.launch import Job, launch

    if args.arguments[:1] == ["--"]:
        del args.arguments[0]
    if not args.arguments:
        raise UsageError("launch needs the command to run, for example: distlenet launch -n 4 train --run runs/a")
    if args.arguments[0] not in COMMANDS:
        raise UsageError(
            f"launch starts {', '.join(COMMANDS)}, got {args.arguments[0]!r}{nearest(args.arguments[0], COMMANDS)}: "
            "give other commands without launch"
        )
    for option, value, least in (("ranks", args.ranks, 1), ("stall-after", args.stall_after, 0)):
        if not value >= least:
            raise UsageError(f"--{option} is {value:g}, expected at least {least}")
    job = Job(args.ranks, args.arguments, args.hosts, not args.no_fault_tolerance, args.stall_after)
    return launch(job, args.max_restarts)
