"""The command line: ``distlenet COMMAND ...``; each command is a module in ``commands/``.

A command module has ``configure(parser)`` and ``run(args)``, and imports what it needs only when it runs:
``distlenet --help`` answers at once, and a run in one process never loads MPI.
"""

import errno
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib.util import find_spec

from distlenet import __version__
from distlenet.commands.options import Parser
from distlenet.errors import DistlenetError, OutputError, UsageError, report
from distlenet.handshake import ORDERLY, tell_launcher
from distlenet.streams import SafeStream, reason, safe_streams

COMMANDS = {
    "prepare": "make a dataset file: MNIST and its like, your own images, or digits drawn by the program",
    "train": "train a network, in one process or under mpirun",
    "launch": "start train, evaluate, repeat, compare or doctor on many processes, and keep the run alive",
    "repeat": "train under several seeds: mean, spread, confidence, defective runs",
    "compare": "train recipes, models or settings side by side, each under several seeds",
    "evaluate": "measure a checkpoint on a dataset, in one process or under mpirun",
    "summary": "list the layers of a network, their outputs and parameters",
    "journal": "show the epochs or steps of a run, or write them as CSV",
    "inspect": "show what a checkpoint holds, and verify it",
    "predict": "say which digits pictures show",
    "draw": "draw digits on a web page of this machine, and watch the network read them",
    "export": "write a checkpoint's network as ONNX, safetensors or npz",
    "doctor": "look at MPI, ranks, cores, BLAS threads and file locks, and say what to mend",
    "bench": "measure the speed of this machine, beside PyTorch where it is installed",
    "report": "make figures and one HTML page of a run, or of many",
}
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def build_parser(command: str | None) -> Parser:
    """Return the parser; only ``command``'s own options are filled in, the others are listed by name."""
    parser = Parser(prog="distlenet", description="Train a pure-numpy LeNet-5 on many processes.")
    parser.add_argument("--version", action="version", version=f"distlenet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name, text in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == command:
            importlib.import_module(f"distlenet.commands.{name}").configure(sub)
            sub.set_defaults(parser=sub)
            sub.add_argument("--debug", action="store_true", help="show tracebacks; train: check every number")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    is_program = arguments is None
    with safe_streams() as output:
        try:
            code = _run(sys.argv[1:] if arguments is None else list(arguments))
            if is_program and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is done: Ctrl-C ends it, without a traceback
        except SystemExit as left:  # argparse's, after --help and --version
            output.finish()
            if not output.failure:
                raise
            code = int(left.code or 0)
        output.finish()
        return code or _unwritten(output)


def _unwritten(output: SafeStream) -> int:
    """Return the exit code for output that was lost, and report it; 0 if none was."""
    if output.failure is None:
        return 0
    if getattr(output.failure, "errno", None) == errno.EPIPE:  # as after `| head`: nothing to complain about
        return 141
    return report(OutputError(f"cannot write to the standard output: {reason(output.failure)}"))


def _run(arguments: list[str]) -> int:  # noqa: PLR0911
    """Run the command line with safe streams; return the exit code."""
    if absent := [name for name in ("numpy", "h5py", "rich") if find_spec(name) is None]:
        text = f"{sys.executable} has no {' and no '.join(absent)}: scripts/quickstart makes a .venv that has"
        print(f"distlenet: error: {text}", file=sys.stderr)
        return 1
    # before numpy loads: a rank is one core's worth of work; an explicit setting wins
    for variable in BLAS_THREADS:
        os.environ.setdefault(variable, "1")
    try:
        if not arguments and not _is_another_rank():
            build_parser(None).print_help(sys.stderr)
            return UsageError.exit_code
        command = next((word for word in arguments if not word.startswith("-")), None)
        args = build_parser(command).parse(arguments)
        args.words = tuple(arguments)  # a refusal repeats them, with what is missing
        return importlib.import_module(f"distlenet.commands.{args.command}").run(args)
    except DistlenetError as error:
        if isinstance(error, UsageError) and _is_another_rank():
            return 0  # rank 0 has the same command line: it says so, and its exit code is that of the job
        if error.exit_code in ORDERLY:
            tell_launcher(error.exit_code)
        if "--debug" in arguments and not error.reported:
            traceback.print_exc()
            _debug()
            return error.exit_code
        return report(error)
    except KeyboardInterrupt:
        print("distlenet: interrupted", file=sys.stderr, flush=True)
        return 130
    except Exception:  # a defect: its traceback is printed here, where control characters in it are escaped
        traceback.print_exc()
        if "--debug" in arguments:
            _debug()
        return 1


def _is_another_rank() -> bool:
    from distlenet.parallel.connect import launched_rank

    return launched_rank() != 0


def _debug() -> None:
    """Open the debugger where the error being handled was raised, if a user at a terminal can use it."""
    from distlenet.parallel.connect import detect

    if detect() is None and sys.stdin.isatty() and sys.stderr.isatty():
        import pdb

        pdb.post_mortem()
