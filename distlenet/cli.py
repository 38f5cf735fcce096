"""The command line: ``distlenet COMMAND ...``; each command is a module in ``commands/``.

A command module has ``configure(parser)`` and ``run(args)``, and imports what it needs only when it runs:
``distlenet --help`` answers at once, and a run in one process never loads MPI.
"""

import argparse
import errno
import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NoReturn

from distlenet import __version__
from distlenet.commands import COMMANDS, GROUPS
from distlenet.commands.options import Parser, fill
from distlenet.errors import DistlenetError, OutputError, UsageError, report
from distlenet.handshake import ORDERLY, tell_launcher
from distlenet.streams import SafeStream, reason, safe_streams

COMPLETION = """TAB completion in bash or zsh (needs the extra completion):
  eval "$(register-python-argcomplete distlenet)\""""
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def build_parser(command: str | None) -> Parser:
    """Return the parser; only ``command``'s own options are filled in, the others are listed by name."""
    parser = Parser(
        prog="distlenet",
        usage="%(prog)s COMMAND [options]",
        description="Train a pure-numpy LeNet-5 on many processes.",
        epilog=list_commands(),
        add_help=False,
    )
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=Parser, prog="distlenet", help=argparse.SUPPRESS
    )
    for name in COMMANDS:
        sub = commands.add_parser(name, add_help=False)
        if name == command:
            fill(sub, name)
            sub.set_defaults(parser=sub)
    parser.add_argument("--version", action="version", version=f"distlenet {__version__}", help="show the version")
    parser.add_argument("-h", "--help", action="help", help="show this help; `distlenet COMMAND --help`: its options")
    return parser


def list_commands() -> str:
    """Return the commands for the help, group by group."""
    groups = []
    for title, commands in GROUPS.items():
        groups.append("\n".join([f"{title}:", *(f"  {name:9} {text}" for name, text in commands.items())]))
    return "\n\n".join([*groups, COMPLETION])


def complete(line: str) -> NoReturn:
    """Print the shell's completions of ``line``, up to the cursor, and exit.

    The words behind ``launch`` and ``scale`` are completed as the command that they start.
    """
    try:
        import argcomplete
    except ModuleNotFoundError:
        sys.exit(1)
    words = line.split()[1:]
    command = next((word for word in words if word in COMMANDS), None)
    if command in ("launch", "scale"):
        inner = next((word for word in words[words.index(command) + 1 :] if word in COMMANDS), None)
        if inner and not line.endswith(inner):
            line = f"distlenet {line[line.index(f' {inner} ', line.index(command)) + 1 :]}"
            command = inner
            os.environ.update(COMP_LINE=line, COMP_POINT=str(len(line)))
    argcomplete.autocomplete(build_parser(command), always_complete_options=False)
    sys.exit(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    is_program = arguments is None
    if is_program:
        gc.set_threshold(
            100_000
        )  # loading modules makes many objects, and by default many searches for garbage among them
    if is_program and "_ARGCOMPLETE" in os.environ:
        complete(os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])])
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
    if getattr(output.failure, "errno", None) == errno.EPIPE:  # as after `| head`: not an error
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
        args.words = tuple(arguments)  # a refusal repeats them and adds the missing option
        return importlib.import_module(f"distlenet.commands.{args.command}").run(args)
    except DistlenetError as error:
        if isinstance(error, UsageError) and _is_another_rank():
            return 0  # rank 0 has the same command line, reports the error, and its exit code is the job's
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
