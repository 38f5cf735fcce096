"""What the commands have in common that may build a network of the user's own: who allows its code to run."""

import argparse
from typing import TYPE_CHECKING

from distlenet.paths import code_path

if TYPE_CHECKING:
    from distlenet.own_code import Trust


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


def make_trust(args: argparse.Namespace, named: str | None) -> "Trust":
    """Return what the command line allows: ``named``, a network as it names it, and what --trust-code says."""
    from distlenet.own_code import Trust

    said: set[str] = set()

    def tell(text: str) -> None:
        from distlenet.parallel.connect import launched_rank
        from distlenet.streams import note

        if text not in said and launched_rank() == 0:
            note(text)
        said.add(text)

    return Trust(named, args.trust_code, getattr(args, "words", ()), tell)
