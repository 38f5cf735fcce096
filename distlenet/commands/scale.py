"""``distlenet scale``: your training on more and more ranks: speed-up, efficiency, memory, same bits.

distlenet scale --ranks 1,2,4 train --run runs/scaling --recipe fast
distlenet scale --weak --steps 200 train --run runs/weak --model net.py:build
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distlenet.commands.launch import options, parser_of, refuse_own_options
from distlenet.commands.options import Parser, add_json, complete_by, whole
from distlenet.commands.run_options import given_settings, make_options
from distlenet.errors import LaunchError, ReplicaError, UsageError

if TYPE_CHECKING:
    from distlenet.bench.study import Study

EXAMPLE = "scale --ranks 1,2,4"
REFUSED = ("resume", "overwrite", "check", "callback", "tensorboard", "trace")  # options of train


def configure(parser: Parser) -> None:
    """Add the options."""
    parser.usage = "%(prog)s [options] train --run DIR ..."
    parser.set_defaults(explain_unknown=explain_unknown)
    parser.add_argument(
        "--ranks", type=counts, metavar="1,2,4", help="numbers of ranks (default: 1, 2, 4, ... up to the cores)"
    )
    parser.add_argument(
        "--weak",
        action="store_true",
        help="weak scaling: every rank gets --batch-size and --shards of its own (default: strong, the ranks share "
        "them, and all must reach the same bits)",
    )
    for name, least, default, text in (
        ("steps", 1, 100, "timed steps of each job"),
        ("warm-up", 0, 10, "steps before them, not timed"),
        ("rounds", 1, 3, "jobs of each number of ranks; the numbers take turns"),
    ):
        parser.add_argument(
            f"--{name}", type=whole(least), default=default, metavar="N", help=f"{text} (default: %(default)s)"
        )
    parser.add_argument(
        "--oversubscribe", action="store_true", help="run more ranks than cores too; the fit leaves them out"
    )
    add_json(parser, "print one JSON object at the end instead of a table")
    command = parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="train ...", help="train and its options; --run is for the study"
    )
    complete_by(command, ("train",))


def counts(text: str) -> tuple[int, ...]:
    """Return the numbers of "1,2,4" in order: the type of --ranks."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) for word in words):
        raise argparse.ArgumentTypeError(f"{text!r}, expected numbers of ranks like 1,2,4")
    return tuple(sorted(set(map(int, words))))


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.bench.study import STOPPED
    from distlenet.streams import note, say
    from distlenet.ui.scale import line, show_study

    study = make_study(args)
    stream, warned = sys.stderr if args.json else sys.stdout, set[str]()

    def tell(turn: int, ranks: int, found: dict[str, Any], kept: bool) -> None:
        print(f"round {turn}/{study.rounds}, {line(ranks, found, kept)}", file=stream, flush=True)
        for warning in found.get("warnings", []):
            if warning not in warned:
                note(warning)
            warned.add(warning)

    code, results = study.run(tell)
    if code in STOPPED:
        note(f"stopped: the same command resumes the study in {study.path}")
        return code
    if args.json:
        print(json.dumps(results))
    else:
        show_study(results)
    draw(study.path, results)
    if not args.json:
        say(f"figures, table and CSV: {study.path}")
    if any(row["same_bits"] is False for row in results["rows"]):
        raise ReplicaError('the parameters differ after the same steps: see the column "same bits"')
    return code


def make_study(args: argparse.Namespace) -> "Study":
    """Return the study that the command line describes; raises the error of the first thing that cannot work."""
    from distlenet.bench.study import Study
    from distlenet.config import check_ranks
    from distlenet.data.file.dataset_file import open_digit_file
    from distlenet.launching.slurm import find_allocation
    from distlenet.parallel.connect import detect
    from distlenet.recipes import build_config
    from distlenet.trust import source_sha256

    train = parse_train(args)
    if found := detect():
        raise LaunchError(f"{found.launcher} started scale as a rank: start it alone, it starts the ranks itself")
    own = make_options(train, train.run_directory, train.recipe, given_settings(train), train.stall_after)
    config = build_config(own.recipe, own.config_file, own.flags)
    own.trust.check(config.code)
    allocation = find_allocation()
    cores = allocation.tasks if allocation else len(os.sched_getaffinity(0))
    doubled = {2**power for power in range(cores.bit_length())}
    chosen = choose(args.ranks or tuple(sorted(doubled | {cores})), cores, args)
    if not args.weak:
        check_ranks(config, max(chosen))
    digits = open_digit_file(own.data)
    return Study(
        Path(train.run_directory),
        own.data,
        config,
        chosen,
        args.rounds,
        args.steps,
        args.warm_up,
        args.weak,
        cores,
        digits.name,
        digits.fingerprint,
        {name: source_sha256(name) for name in config.code.values()},
        allocation,
        own.stall_after,
    )


def choose(wanted: tuple[int, ...], cores: int, args: argparse.Namespace) -> tuple[int, ...]:
    """Return the numbers of ranks to run; raises LaunchError if none is left."""
    from distlenet.streams import note

    above = [ranks for ranks in wanted if ranks > cores and not args.oversubscribe]
    text = f"{', '.join(map(str, above))} ranks on {cores} cores are left out: --oversubscribe runs them too"
    if len(above) == len(wanted):
        raise LaunchError(text)
    if above:
        note(text)
    return tuple(ranks for ranks in wanted if ranks not in above)


def parse_train(args: argparse.Namespace) -> argparse.Namespace:
    """Return the arguments of train behind those of scale; raises UsageError."""
    words = args.arguments[1:] if args.arguments[:1] == ["--"] else args.arguments
    if words[:1] != ["train"]:
        got = f", got {words[0]!r}" if words else ""
        raise UsageError(f"scale is followed by train and its options{got}: `distlenet {EXAMPLE} train --run runs/s`")
    inner = parser_of("train")
    refuse_own_options(words, options(args.parser), options(inner), EXAMPLE)
    train = inner.parse(words[1:])
    for name in REFUSED:
        if getattr(train, name):
            raise UsageError(f"scale times the first steps of a training, without --{name}: leave it out")
    train.words = args.words
    return train


def explain_unknown(args: argparse.Namespace, unknown: list[str]) -> None:
    """Raise UsageError for options of train that stand before it."""
    name = unknown[0].split("=")[0]
    if name in options(parser_of("train")):
        raise UsageError(
            f"{name} is an option of train, not of scale: give it after the command, as in "
            f"`distlenet {EXAMPLE} train {name} ...`"
        )


def draw(path: Path, results: dict[str, Any]) -> None:
    """Draw the figures and the page of the study in ``path``, if the extra for them is installed."""
    from distlenet.bench.study_results import make_rows, remarks
    from distlenet.report.scale import write_study_report
    from distlenet.streams import note

    try:
        write_study_report(path / "report", results, make_rows(results), remarks(results))
    except UsageError as error:  # without matplotlib or Jinja2
        note(error)
