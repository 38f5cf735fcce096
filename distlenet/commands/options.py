"""The parser of all commands, options that several have, and the types of their values, which say what they expect.

A command that may build a network of the user's own has ``--trust-code`` and ``--model``: they allow its code to run.
"""

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from math import inf
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from distlenet.config import RECIPES, Config
from distlenet.errors import UsageError, nearest
from distlenet.handshake import STALL_AFTER
from distlenet.paths import code_path, path

if TYPE_CHECKING:
    from distlenet.own_code import Trust
    from distlenet.runs.experiment import RunOptions

LARGEST_SIDE = 512  # pixels
LAUNCH_OPTIONS = ("-n", "--ranks", "--hosts", "--max-restarts", "--no-fault-tolerance")
N = TypeVar("N", int, float)


class Parser(argparse.ArgumentParser):
    """argparse, but an unknown option is answered with the nearest known one, by our own error."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)
        self.color = False  # Python 3.14 colours the help by escape codes of its own

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of leaving."""
        hint = ""
        if choice := re.search(r"invalid choice: '?([^' ]+)'? \(choose from (.*)\)", message):
            hint = nearest(choice[1], [known.strip("'") for known in choice[2].split(", ")])
        if message.startswith("unrecognized arguments: "):
            word = message.split(": ", 1)[1].split(maxsplit=1)[0].split("=", maxsplit=1)[0]
            hint = nearest(word, [option for action in self._actions for option in action.option_strings])
            if not word.startswith("-") and word.endswith(".h5") and "--data" in self._option_string_actions:
                hint = f" (did you mean --data {word}?)"
            if word in LAUNCH_OPTIONS:
                hint = f" ({word} is an option of launch: distlenet launch -n 4 {self.prog.split()[-1]} ...)"
        raise UsageError(f"{message}{hint}; see `{self.prog} --help`")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse; unknown arguments are reported by the subcommand's own parser, which knows its options."""
        parsed, unknown = self.parse_known_args(arguments)
        if unknown and hasattr(parsed, "explain_unknown"):
            parsed.explain_unknown(parsed, unknown)
        if unknown:
            getattr(parsed, "parser", self).error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed


def whole(least: float = -inf, most: float = inf) -> Callable[[str], int]:
    """Return the type of an option that takes whole numbers of ``least`` to ``most``."""
    return _number(int, "a whole number", least, most)


def real(least: float = -inf) -> Callable[[str], float]:
    """Return the type of an option that takes numbers of at least ``least``."""
    return _number(float, "a number", least)


def _number(kind: Callable[[str], N], name: str, least: float, most: float = inf) -> Callable[[str], N]:
    limits = f" from {least:,} to {most:,}" if most < inf else f" of at least {least}" if least > -inf else ""

    def convert(text: str) -> N:
        with suppress(ValueError):
            value = kind(text)
            if least == -inf or least <= value <= most:
                return value
        raise argparse.ArgumentTypeError(f"{text!r}, expected {name}{limits}")

    return convert


def share(text: str) -> float:
    """Return a share between 0 and 1: the type of an option."""
    with suppress(ValueError):
        if 0 < float(text) < 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r}, expected a share: a number between 0 and 1")


def picture_size(text: str) -> tuple[int, int]:
    """Return (rows, columns) of "20x30", or of "28", a square: the type of an option."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and 1 <= int(side) <= LARGEST_SIDE for side in sides):
        size = f"{LARGEST_SIDE}x{LARGEST_SIDE}"
        raise argparse.ArgumentTypeError(f"{text!r}, expected ROWSxCOLUMNS like 20x30, or 28 for 28x28, at most {size}")
    return int(sides[0]), int(sides[-1])


def add_checkpoint(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add the checkpoint that a command reads; ``default``: the one that it reads where none is given."""
    which = "its best checkpoint, else its newest" if default is None else "default: the network of the package"
    parser.add_argument(
        "checkpoint",
        nargs=None if default is None else "?",
        default=default,
        type=path,
        help=f"checkpoint file, or run directory ({which})",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the dataset file."""
    parser.add_argument(
        "--data", default="datasets/mnist.h5", type=path, metavar="FILE", help="dataset file (default: %(default)s)"
    )


def add_json(parser: argparse.ArgumentParser, text: str = "print one JSON object instead of tables") -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help=text)


def add_overwrite(parser: argparse.ArgumentParser, what: str = "the file whatever it holds") -> None:
    """Add ``--overwrite``."""
    parser.add_argument("--overwrite", action="store_true", help=f"replace {what}")


def add_training(
    parser: argparse.ArgumentParser, directory: str, displays: tuple[str, ...], display: str | None = None
) -> None:
    """Add what train, repeat and compare share but for the settings, which come last: see add_settings.

    Arguments:
        parser: of the command.
        directory: the help of ``--run``.
        displays: choices of ``--display``, the default first.
        display: its help.
    """
    add_data(parser)
    parser.add_argument("--run", required=True, type=path, metavar="DIR", dest="run_directory", help=directory)
    parser.add_argument("--recipe", metavar="NAME", help=f"named settings: {', '.join(RECIPES)} (default: standard)")
    parser.add_argument("--config", type=path, metavar="FILE.toml", help="settings that override the recipe's")
    parser.add_argument("--display", choices=displays, default=displays[0], help=display)
    parser.add_argument(
        "--tensorboard", action="store_true", help="write event files for TensorBoard to tensorboard/ of each run"
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-code`` and an option for every setting."""
    add_trust(parser, model=False)
    settings = parser.add_argument_group("settings (defaults: recipe standard)")
    types: dict[Any, Callable[[str], Any]] = {int: whole(), float: real(), str: str}
    for item in fields(Config):
        flag, text = "--" + item.name.replace("_", "-"), item.metadata["help"]
        if item.type is bool:
            settings.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            kind, default = types[item.type], item.default
            settings.add_argument(flag, type=kind, metavar=type(default).__name__.upper(), help=f"{text} ({default})")


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the command line gives."""
    flags = {item.name: getattr(args, item.name) for item in fields(Config)}
    return {name: value for name, value in flags.items() if value is not None}


def make_options(
    args: argparse.Namespace,
    directory: str,
    recipe: str | None,
    flags: dict[str, Any],
    stall_after: float | None = None,
    **more: Any,
) -> "RunOptions":
    """Return the options of one run, of ``train`` or of a series; ``more``: those that the latter has not."""
    from distlenet.runs.experiment import RunOptions

    return RunOptions(
        data=args.data,
        run_directory=directory,
        recipe=recipe,
        config_file=args.config,
        flags=flags,
        stall_after=float(os.environ.get(STALL_AFTER, "60")) if stall_after is None else stall_after,
        debug=args.debug,
        tensorboard=args.tensorboard,
        trust=make_trust(args, flags.get("model"), flags),
        **more,
    )


def add_trust(parser: argparse.ArgumentParser, model: bool = True, dest: str = "model") -> None:
    """Add ``--trust-code`` and, with ``model``, ``--model`` for a command that reads a checkpoint.

    ``dest``: the attribute of --model, for a command that has another ``model``.
    """
    if model:
        parser.add_argument(
            "--model",
            dest=dest,
            type=code_path,
            metavar="FILE.py:FUNCTION",
            help="code of the checkpoint's network, if that is your own: only code that is named here is run",
        )
    parser.add_argument(
        "--trust-code",
        action="store_true",
        help="also run code in the working directory that a checkpoint or a TOML file names",
    )


def make_trust(args: argparse.Namespace, named: str | None, flags: Mapping[str, Any] | None = None) -> "Trust":
    """Return what the command line allows: the code that it names, and what --trust-code says.

    ``named``: the network as it names it; ``flags``: all settings that it gives, of a command that trains.
    """
    from distlenet.own_code import Trust

    said: set[str] = set()

    def tell(text: str) -> None:
        from distlenet.parallel.connect import launched_rank
        from distlenet.streams import note

        if text not in said and launched_rank() == 0:
            note(text)
        said.add(text)

    settings = {**(flags or {}), "model": named}
    command = getattr(args, "words", ())
    return Trust.in_settings(settings, files=args.trust_code, command=command, tell=tell)
