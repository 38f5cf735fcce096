"""``distlenet train``: train a network, in one process or under mpirun.

distlenet train --run runs/a
mpirun -n 4 distlenet train --run runs/a --recipe fast --epochs 2
distlenet train --run runs/a --resume
distlenet train --run runs/own --model mynet.py:build
"""

import argparse
import gc
import os
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from distlenet.commands.options import Parser, add_overwrite, real, whole
from distlenet.commands.run_options import add_run, given_settings, make_options
from distlenet.config import FAULTS, Config, check_names
from distlenet.paths import code_path, path_or
from distlenet.recipes import build_config

if TYPE_CHECKING:
    from distlenet.parallel import Communicator
    from distlenet.training.signals import Signals


def configure(parser: Parser) -> None:
    """Add the options."""
    parser.usage = "%(prog)s --run DIR [options]"
    displays = ("auto", "live", "plain", "quiet")
    add_run(parser, "directory for the run's files", displays, "what the terminal shows (default: auto)", add_own)
    faults = parser.section(FAULTS)
    faults.add_argument(
        "--checkpoint-every",
        type=interval,
        default=(0, None),
        metavar="N|Nm",
        help="save every N steps too, or every N minutes: 500, 10m",
    )
    faults.add_argument(
        "--keep-newest", type=whole(1), default=2, metavar="K", help="newest checkpoints to keep (default: %(default)s)"
    )
    faults.add_argument(
        "--keep-every", type=whole(0), default=0, metavar="N", help="keep a checkpoint every N epochs (0: none)"
    )
    audits = faults.add_mutually_exclusive_group()
    audits.add_argument(
        "--audit",
        type=whole(0),
        metavar="N",
        help="every N steps another rank computes a leaf again and compares the bits (default: 150, alone: 0, never)",
    )
    audits.add_argument("--audit-all", action="store_true", help="compute every leaf of every step twice")
    faults.add_argument(
        "--stall-after",
        type=real(0),
        metavar="SECONDS",
        help="on many ranks: after this long without progress, drop a rank or end the job (default: 60; 0: never)",
    )


def add_own(run: argparse._ArgumentGroup) -> None:
    """Add the options to the group "run" that only train has."""
    run.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        type=path_or("auto"),
        metavar="auto|PATH",
        help="resume from the newest checkpoint of --run; a new run: from PATH",
    )
    run.add_argument(
        "--override", action="append", default=[], metavar="NAME", help="let a resumed run change this setting"
    )
    add_overwrite(run, "the run that --run holds")
    run.add_argument(
        "--callback",
        action="append",
        default=[],
        type=code_path,
        metavar="FILE.py:FUNCTION",
        help="call your function with each event, on the root; may be repeated",
    )
    run.add_argument(
        "--trace",
        nargs="?",
        const=500,
        default=0,
        type=whole(1),
        metavar="STEPS",
        help="write a timeline of all ranks to RUN/trace.json: the next STEPS steps (500)",
    )
    run.add_argument("--check", action="store_true", help="only check the options and settings")
    run.add_argument("--log-every", type=whole(1), default=50, metavar="N", help="steps between journal lines")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    if args.check:
        return check(args)
    from distlenet.training.signals import Signals

    with Signals() as signals:  # before MPI starts, and before anything that is slow to load
        return train(args, signals)


def check(args: argparse.Namespace) -> int:
    """Check what can be checked without the dataset; return 0. Raises the error that the run would end with."""
    from distlenet.runs.directory import RunDirectory

    check_names(overridden(args), "--override")
    RunDirectory(args.run_directory).check()
    configs(args)
    return 0


def configs(args: argparse.Namespace) -> list[Config]:
    """Return the settings, including those of the run that it resumes; raises the error that the run would end with."""
    base = None
    if args.resume is not None:
        from distlenet.runs.directory import RunDirectory
        from distlenet.runs.resume import find_source, settings_of

        directory = RunDirectory(args.run_directory)
        origin, _ = find_source(directory, args.resume)
        base = origin.meta["config"] if origin else settings_of(directory)
    return [build_config(args.recipe, args.config, given_settings(args), base)]


def train(args: argparse.Namespace, signals: "Signals") -> int:
    """Train as the arguments say, responding to ``signals``; return the exit code."""
    from distlenet.parallel.agreement import in_agreement
    from distlenet.parallel.connect import run_ranks
    from distlenet.runs.callbacks import load_callbacks
    from distlenet.runs.rank_comparison import compare_ranks, of_callbacks
    from distlenet.runs.session import Session

    gc.freeze()  # modules stay until the end: searches for garbage, the last one at the exit too, leave them out
    save_steps, save_seconds = args.checkpoint_every
    options = make_options(
        args,
        args.run_directory,
        args.recipe,
        given_settings(args),
        stall_after=args.stall_after,
        resume=args.resume,
        overwrite=args.overwrite,
        override=overridden(args),
        save_steps=save_steps,
        save_seconds=save_seconds,
        keep_every=args.keep_every,
        keep_newest=args.keep_newest,
        log_every=args.log_every,
        trace=args.trace,
        audit=args.audit,
        audit_all=args.audit_all,
    )

    def work(comm: "Communicator") -> int:
        signals.listen()
        with in_agreement(comm):
            own = replace(options, callbacks=load_callbacks(args.callback, options.trust))
        compare_ranks(comm, lambda: of_callbacks(args.callback))
        with ExitStack() as displays:
            return Session(own, comm, signals, lambda: make_listeners(args, displays)).run()

    return run_ranks(work, args.debug)


def overridden(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the settings that a resumed run may change."""
    return tuple(name.replace("-", "_") for names in args.override for name in names.split(","))


def make_listeners(args: argparse.Namespace, displays: ExitStack) -> list:
    """Return the root's displays; closing ``displays`` restores the terminal."""
    from distlenet.ui.display import DebugView, Guarded, make_display
    from distlenet.ui.text import QUICKSTART, hints

    at_the_end = (
        () if QUICKSTART in os.environ else hints(args.run_directory, args.data, model=getattr(args, "model", None))
    )
    display = make_display(args.display, hints=at_the_end)
    display = display if args.debug else Guarded(display)
    return [displays.enter_context(display), *([DebugView()] if args.debug else [])]


def interval(text: str) -> tuple[int, float | None]:
    """Return (steps, None) for "500", (0, seconds) for "10m": the type of --checkpoint-every."""
    with suppress(ValueError):
        steps, seconds = (0, 60 * float(text[:-1])) if text.endswith("m") else (int(text), None)
        if steps > 0 or (seconds or 0) > 0:
            return steps, seconds
    raise argparse.ArgumentTypeError(f"{text!r}, expected a number of steps like 500, or of minutes like 10m")
