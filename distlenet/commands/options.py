"""The parser of all commands, options that several have, and the types of their values, which say what they expect.

A command that may build a user-defined network has ``--trust-code`` and ``--model``: they allow its code to run.
"""

import argparse
import importlib
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from distlenet.commands import COMMANDS
from distlenet.config import RUN
from distlenet.errors import UsageError, nearest
from distlenet.paths import code_path, path

if TYPE_CHECKING:
    from distlenet.trust import Trust

LARGEST_SIDE = 512  # pixels
LAUNCH_OPTIONS = ("-n", "--ranks", "--hosts", "--max-restarts", "--no-fault-tolerance")
N = TypeVar("N", int, float)


class Layout(argparse.HelpFormatter):
    """Keeps the lines of a text that has several of them, such as examples; breaks no name and no default."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)

    def _split_lines(self, text: str, width: int) -> list[str]:
        text = " ".join(text.split()).replace("(default: ", "(default:\0")
        return [line.replace("\0", " ") for line in textwrap.wrap(text, width, break_on_hyphens=False)]


class Parser(argparse.ArgumentParser):
    """argparse with our own error, which suggests the nearest known option."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": Layout, **settings})
        self.color = False  # Python 3.14 would colour the help with its own escape codes
        self._sections: dict[str, argparse._ArgumentGroup] = {}

    def section(self, title: str) -> "argparse._ArgumentGroup":
        """Return the group of options called ``title``; the first call decides its place in the help."""
        if title not in self._sections:
            self._sections[title] = self.add_argument_group(title)
        return self._sections[title]

    @property
    def has_sections(self) -> bool:
        """Whether its options are in groups, as those of commands that train are."""
        return bool(self._sections)

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


def fill(parser: Parser, command: str) -> None:
    """Add to ``parser``, which has no -h yet, all options of ``command``, what it does, and examples."""
    module = importlib.import_module(f"distlenet.commands.{command}")
    _, examples, *more = [*(module.__doc__ or "").strip().split("\n\n"), "", ""]
    parser.description = f"{COMMANDS[command][0].upper()}{COMMANDS[command][1:]}."
    parser.epilog = "\n\n".join(["examples:\n" + textwrap.indent(examples, "  "), *more]).strip()
    module.configure(parser)
    trains = parser.has_sections
    last = parser.section(RUN) if trains else parser
    also = "; check every number and every layer's gradient" if trains else ""
    last.add_argument("--debug", action="store_true", help=f"show tracebacks{also}")
    last.add_argument("-h", "--help", action="help", help="show this help and exit")


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


def complete_by(option: argparse.Action, names: Iterable[str]) -> None:
    """Let argcomplete, if the shell asks it, complete the value of ``option`` by ``names``; without any, by files."""
    if known := tuple(names):
        option.completer = lambda **_: known  # type: ignore[attr-defined]


def add_checkpoint(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add the checkpoint that a command reads; ``default``: the one that it reads where none is given."""
    which = "its best checkpoint, else its newest" if default is None else "default: the packaged network"
    parser.add_argument(
        "checkpoint",
        nargs=None if default is None else "?",
        default=default,
        type=path,
        help=f"checkpoint file, or run directory ({which})",
    )


def add_data(parser: argparse._ActionsContainer) -> None:
    """Add the dataset file."""
    parser.add_argument(
        "--data", default="datasets/mnist.h5", type=path, metavar="FILE", help="dataset file (default: %(default)s)"
    )


def add_json(parser: argparse._ActionsContainer, text: str = "print one JSON object instead of tables") -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help=text)


def add_overwrite(parser: argparse._ActionsContainer, what: str = "the file, whatever it holds") -> None:
    """Add ``--overwrite``."""
    parser.add_argument("--overwrite", action="store_true", help=f"replace {what}")


def add_trust(parser: argparse._ActionsContainer, model: bool = True, dest: str = "model") -> None:
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


def make_trust(
    args: argparse.Namespace,
    named: str | None,
    flags: Mapping[str, Any] | None = None,
    callbacks: Sequence[str] = (),
) -> "Trust":
    """Return what the command line allows: the code that it names, and what --trust-code says.

    ``named``: the network as it names it; of a command that trains, ``flags``: all settings that it gives, and
    ``callbacks``.
    """
    from distlenet.trust import Trust

    sentence: set[str] = set()

    def tell(text: str) -> None:
        from distlenet.parallel.connect import launched_rank
        from distlenet.streams import note

        if text not in sentence and launched_rank() == 0:
            note(text)
        sentence.add(text)

    settings = {**(flags or {}), "model": named}
    command = getattr(args, "words", ())
    return Trust.in_settings(settings, callbacks, files=args.trust_code, command=command, tell=tell)
