"""``distlenet prepare``: make a dataset file.

distlenet prepare mnist                  found on this machine, or downloaded
distlenet prepare mnist --from ~/mnist   from the four files in a directory
distlenet prepare synthetic              digits drawn by the program
distlenet prepare emnist --split letters --from ~/emnist
distlenet prepare csv --from train.csv   a table: label, then pixels
distlenet prepare folder --from images   a folder of images for each class
distlenet prepare mine.py:read --from x  your own format
"""

import argparse
import os
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distlenet.commands.options import Parser, picture_size, share, whole
from distlenet.data.sources.formats import EMNIST_SPLITS, FORMATS, Format, format_of
from distlenet.errors import UsageError
from distlenet.paths import as_path, is_custom
from distlenet.streams import clean, say

if TYPE_CHECKING:
    from distlenet.data.sources.prepare import Prepared

COUNT, SEED = whole(1, 10**9), whole(0, 2**64 - 1)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``distlenet prepare`` to ``parser``."""
    datasets = parser.add_subparsers(
        dest="dataset", required=True, metavar="DATASET", help="one of these, or your own format: FILE.py:FUNCTION"
    )
    for name, format_ in FORMATS.items():
        more = format_.more or f"{format_.help[0].upper()}{format_.help[1:]}."
        add_format(datasets.add_parser(name, help=format_.help, description=more), name, format_)
    datasets.choices = datasets._name_parser_map = WithOwn(datasets.choices)


class WithOwn(dict[str, argparse.ArgumentParser]):
    """Parsers by format; the parser of a user-defined format is made when the command line names it."""

    def __contains__(self, name: object) -> bool:
        return is_custom(str(name)) or super().__contains__(name)

    def __missing__(self, name: str) -> argparse.ArgumentParser:
        format_ = format_of(name)
        parser = Parser(prog=f"distlenet prepare {name}", description=format_.more)
        add_format(parser, name.rpartition(":")[2], format_)
        return parser


def add_format(command: argparse.ArgumentParser, name: str, format_: Format) -> None:
    """Add the options of ``format_`` to ``command``; by default it makes the dataset file ``name``."""
    command.usage = f"%(prog)s {'--from PATH ' * (bool(format_.place) and format_.needs_place)}[options]"
    if format_.place:
        command.add_argument(
            "--from", dest="place", type=as_path, required=format_.needs_place, metavar="PATH", help=format_.place
        )
    for option in format_.options:
        flag, settings = OPTIONS[option]
        command.add_argument(flag, **{"dest": option, **settings})
    command.add_argument(
        "--out",
        type=as_path,
        default=Path(f"datasets/{name}.h5"),
        metavar="FILE",
        help="file to write (default: %(default)s)",
    )
    command.add_argument("--force", action="store_true", help="replace the file, whatever it holds")
    command.set_defaults(parser=command)


def run(args: argparse.Namespace) -> int:
    """Make the dataset file and print what it holds; return 0. Raises DistlenetError."""
    from distlenet.data.sources.prepare import prepare

    _keep_sources(args)
    format_ = format_of(args.dataset)
    names = [OPTIONS[option][1].get("dest", option) for option in format_.options]
    options = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    read = partial(format_.read, getattr(args, "place", None), **options)
    with _shown_progress() as progress:
        prepared = prepare(args.out, read, fingerprint=format_.fingerprint, force=args.force, progress=progress)
    for line in _report(prepared):
        say(line)
    return 0


def _keep_sources(args: argparse.Namespace) -> None:
    """Raise UsageError where --out is one of the files that are read: --force would replace it."""
    for source in (getattr(args, "place", None), getattr(args, "test", None)):
        if isinstance(source, Path) and os.path.realpath(source) == os.path.realpath(args.out):
            raise UsageError(f"--out {args.out} is a file to read, and would be replaced: choose another --out")


def _report(prepared: "Prepared") -> list[str]:
    file = prepared.file
    did = "wrote" if prepared.written else "unchanged, already holds the same images, verified:"
    made_up = " (NOT MNIST: made up by the program)" if file.name == "drawn digits" else ""
    (rows, columns), names = file.image_shape, file.class_names
    validation = f" --validation {prepared.validation}" if prepared.validation else ""
    lines = (
        f"{did} {file.path}",
        f"  name         {file.name}{made_up}",
        f"  images       {file.length('train'):,} train, {file.length('test'):,} test",
        f"  size         {rows} x {columns} pixels",
        f"  classes      {len(names)}: {textwrap.shorten(', '.join(names), 80, placeholder=' ...')}",
        f"  source       {file.source}",
        f"  read from    {prepared.origin}" if prepared.origin else "",
        f"  fingerprint  {file.fingerprint[:12]}",
        f"  file         {os.path.getsize(file.path) / 1e6:.1f} MB",
        *(f"  note         {note}" for note in prepared.notes),
        f"next: mpirun -n 2 distlenet train --data {shlex.quote(str(file.path))} --run runs/first{validation}",
    )
    return [line for line in lines if line]


@contextmanager
def _shown_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Give a progress callback: a bar when the terminal can show one, else one line per stage."""
    from distlenet.ui.terminal import is_live

    if not is_live(sys.stderr):
        yield _lines()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from distlenet.ui.console import make_console

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:.0f}%"))
    with Progress(*columns, TimeRemainingColumn(), console=make_console(sys.stderr), transient=True) as bars:
        tasks = {}

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage)
            bars.update(tasks[stage], completed=done, total=total or None)

        yield progress


def _lines() -> Callable[[str, int, int], None]:
    last = ""

    def progress(stage: str, _done: int, _total: int) -> None:
        nonlocal last
        if stage != last:
            print(f"{clean(stage)} ...", file=sys.stderr, flush=True)
            last = stage

    return progress


# the options of the formats: flag, and keywords for argparse, with dest where it differs from the key
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "train": ("--train", {"type": COUNT, "help": "training images (default: 60000)"}),
    "test images": ("--test", {"dest": "test", "type": COUNT, "help": "test images (default: 10000)"}),
    "distinct": (
        "--distinct",
        {
            "type": COUNT,
            "metavar": "N",
            "help": "draw only N training images and repeat them: quickly makes a large file, for speed tests",
        },
    ),
    "forms": ("--forms", {"type": COUNT, "help": "drawn digits (default: 30000)"}),
    "others": ("--others", {"type": COUNT, "help": "drawn letters and scribbles (default: 5000)"}),
    "digits": ("--seed", {"dest": "seed", "type": SEED, "help": "which digits (default: 1998)"}),
    "split": (
        "--split",
        {
            "choices": EMNIST_SPLITS,
            "default": "balanced",
            "metavar": "NAME",
            "help": f"{', '.join(EMNIST_SPLITS)} (default: %(default)s)",
        },
    ),
    "test": ("--test", {"type": as_path, "metavar": "FILE", "help": "table of the test images, of the same columns"}),
    "label": (
        "--label",
        {
            "metavar": "COLUMN",
            "help": "first, last, a name or a number from 1 (default: as the header says, else first)",
        },
    ),
    "ignore": (
        "--ignore",
        {"metavar": "COLUMN", "action": "append", "help": "leave out this column, by name or number; may be repeated"},
    ),
    "size": ("--size", {"type": picture_size, "metavar": "ROWSxCOLUMNS", "help": "of an image; one number: a square"}),
    "ink": ("--ink", {"choices": ("light", "dark"), "help": "dark: invert (default: if the borders are light)"}),
    "share": (
        "--test-share",
        {"type": share, "metavar": "SHARE", "help": "of each class, if no test images are given (default: 0.2)"},
    ),
    "seed": ("--seed", {"type": SEED, "metavar": "SEED", "help": "of the images' order (default: 1998)"}),
}
