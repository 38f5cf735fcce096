"""``distlenet launch``: start ranks with the right mpirun and flags, and keep the run alive.

distlenet launch -n 4 train --run runs/a
distlenet launch -n 4 --max-restarts 3 train --run runs/a --resume
"""

import argparse
import importlib
import os
import re
from pathlib import Path
from typing import Any

from distlenet.commands.options import Parser, complete_by, fill, real, whole
from distlenet.launching import COMMANDS

CROWD = 4  # ranks a core; with more, most of the time goes into taking turns


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.usage = "%(prog)s -n N [options] COMMAND ..."
    parser.set_defaults(explain_unknown=explain_unknown)
    parser.add_argument("-n", "--ranks", type=whole(1), metavar="N", help="number of processes")
    parser.add_argument(
        "--hosts", metavar="A:2,B:2", help="hosts, with the number of ranks on each (default: this one)"
    )
    parser.add_argument(
        "--max-restarts",
        type=whole(0),
        default=0,
        metavar="K",
        help="restarts of a job that died as a whole (default: %(default)s)",
    )
    parser.add_argument(
        "--stall-after",
        type=real(0),
        default=60.0,
        metavar="SECONDS",
        help="drop a rank that is silent for this long; without fault tolerance, end the job (default: %(default)g)",
    )
    parser.add_argument("--no-fault-tolerance", action="store_true", help="end the job when a rank is lost")
    parser.add_argument(
        "--return",
        dest="returns",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="train: replace lost ranks by new ones (default: yes, where MPI can)",
    )
    command = parser.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        metavar="COMMAND ...",
        help=f"{', '.join(COMMANDS[:-1])} or {COMMANDS[-1]}, and its options",
    )
    complete_by(command, COMMANDS)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.errors import UsageError, nearest
    from distlenet.launching.job import Job, say
    from distlenet.launching.restarts import launch

    words = args.arguments[1:] if args.arguments[:1] == ["--"] else args.arguments
    if not words:
        raise UsageError("launch needs the command to run, for example: distlenet launch -n 4 train --run runs/a")
    command = words[0]
    if command == "distlenet":
        raise UsageError(f"launch is followed by the command alone: leave the word {command!r} out")
    if args.hosts is not None and not args.hosts.strip():
        raise UsageError("--hosts is empty (is a shell variable unset?), expected for example node1:4,node2:4")
    if command not in COMMANDS:
        raise UsageError(
            f"launch starts {', '.join(COMMANDS)}, got {command!r}{nearest(command, COMMANDS)}: "
            "run other commands without launch"
        )
    module = importlib.import_module(f"distlenet.commands.{command}")
    inner = parser_of(command)
    refuse_own_options(words, options(args.parser), options(inner))
    if args.ranks is None:
        args.parser.error("the following arguments are required: -n/--ranks")
    settings = inner.parse(words[1:])
    check_ranks_before_start(args, module, settings)
    cores = len(os.sched_getaffinity(0))
    if not args.hosts and args.ranks > CROWD * cores:
        say(f"{args.ranks} ranks on {cores} cores: expect it to be slow")
    run = Path(settings.run_directory) if command == "train" else None
    tolerant, returns = not args.no_fault_tolerance, args.returns
    job = Job(args.ranks, words, run, args.hosts, tolerant, args.stall_after, returns=returns)
    return launch(job, args.max_restarts)


def check_ranks_before_start(args: argparse.Namespace, module: Any, inner: argparse.Namespace) -> None:
    """Refuse more ranks than shards or processes, by LaunchError: the ranks would report it too late."""
    from distlenet.config import check_ranks
    from distlenet.errors import CheckpointError, LaunchError, RunDirectoryError
    from distlenet.runs.directory import RunDirectory

    try:
        settings = module.configs(inner) if hasattr(module, "configs") else []
    except (CheckpointError, RunDirectoryError):
        settings = []  # the ranks report it in full, and other hosts may see other files
    teams, resume = getattr(inner, "side_by_side", 1), getattr(inner, "resume", None)
    resumed = resume is not None and (resume != "auto" or bool(RunDirectory(inner.run_directory).saved()))
    for config in settings:
        check_ranks(config, -(-args.ranks // teams), resumed)
    most = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    if args.ranks >= most:
        raise LaunchError(f"{args.ranks} ranks, but this system has room for {most} processes at most")


def parser_of(command: str) -> Parser:
    """Return the parser of another command's options."""
    parser = Parser(prog=f"distlenet {command}", add_help=False)
    fill(parser, command)
    return parser


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Return the options that ``parser`` knows."""
    return {option for action in parser._actions for option in action.option_strings}


def refuse_own_options(words: list[str], own: set[str], inner: set[str], example: str = "launch -n 4") -> None:
    """Raise UsageError for an option of launch, or of another ``example``, among ``words``, the command behind it."""
    from distlenet.errors import UsageError, nearest

    for word in words[1:]:
        if word == "--":
            return
        found = re.match(r"--[^=]*|-[a-zA-Z]", word)
        if found is None or found[0] in inner:
            continue
        name = found[0]
        meant = (
            name
            if name in own
            else next((option for option in own - inner if option in nearest(name, inner | own)), "")
        )
        if meant:
            guess = "" if meant == name else f"there is no option {name}; did you mean {meant}? "
            owner = example.partition(" ")[0]
            raise UsageError(
                f"{guess}{meant} is an option of {owner}, not of {words[0]}: give it before the command, as in "
                f"`distlenet {example} {words[0]} ...`"
            )


def explain_unknown(args: argparse.Namespace, unknown: list[str]) -> None:
    """Raise UsageError for options of the command that stand before it."""
    from distlenet.errors import UsageError

    name, command = unknown[0].split("=")[0], next((word for word in args.arguments if word in COMMANDS), None)
    if command and name in options(parser_of(command)):
        raise UsageError(
            f"{name} is an option of {command}, not of launch: give it after the command, as in "
            f"`distlenet launch -n 4 {command} {name} ...`"
        )
