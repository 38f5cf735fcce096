"""``distlenet journal``: the epochs or steps of a run as a table, or as CSV for a spreadsheet.

distlenet journal runs/a
distlenet journal runs/a --csv epochs.csv
distlenet journal runs/a --steps --csv - | head

A column has one unit: seconds, images per second, or none. Accuracies and
shares are from 0 to 1. Epochs count from 1, steps from the start of the run. A
cell is empty where the run has no such figure.
"""

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from distlenet.commands.options import add_overwrite
from distlenet.paths import as_path, path_or
from distlenet.streams import note, say

if TYPE_CHECKING:
    from distlenet.runs.columns import Column
    from distlenet.runs.record import Line

CSV_ONLY = ("running_loss", "running_accuracy", "evaluation_seconds", "images")  # a terminal is too narrow for all


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("run_directory", type=as_path, metavar="RUN", help="directory of a run, ended or not")
    parser.add_argument("--steps", action="store_true", help="show steps instead of epochs")
    parser.add_argument(
        "--csv", type=path_or("-"), metavar="FILE|-", help="write CSV to this file; -: to the standard output"
    )
    add_overwrite(parser, "the file of --csv, whatever it holds")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet import atomic
    from distlenet.bounded import head
    from distlenet.errors import RunDirectoryError
    from distlenet.runs.columns import EPOCHS, STEPS, cells
    from distlenet.runs.record import counting, read_lines

    path = args.run_directory / "journal.jsonl"
    try:
        lines, damaged = read_lines(path, args.steps)
    except OSError as error:
        reason = f"cannot read {path} ({error.strerror})"
        raise RunDirectoryError(f"{reason}: expected the --run of `distlenet train`") from error
    for text in damaged:
        note(text)
    columns = STEPS if args.steps else EPOCHS
    entries = counting(lines, "step" if args.steps else "epoch")
    if args.csv is None:
        from distlenet.ui.console import make_console
        from distlenet.ui.tables import journal_table

        shown = {name: keys for name, keys in columns.items() if name not in CSV_ONLY}
        make_console().print(journal_table(list(shown), [cells(shown, entry) for entry in entries]))
    elif args.csv == "-":
        sys.stdout.write(as_csv(columns, entries))
    else:
        path = Path(args.csv)
        earlier = (",".join(columns), ",".join(EPOCHS), ",".join(STEPS))
        if path.exists() and not args.overwrite:
            start = (head(path.resolve(), 2000) or b"").decode(errors="replace")
            if start.partition("\r\n")[0] not in earlier:
                raise RunDirectoryError(
                    f"{path} exists, and is not a table that journal wrote: choose another --csv, or add --overwrite"
                )
        atomic.write(path, as_csv(columns, entries), RunDirectoryError, follow_links=True)
        say(f"wrote {args.csv}: {len(entries)} {'steps' if args.steps else 'epochs'} of {args.run_directory}")
    return 0


def as_csv(columns: "dict[str, Column]", entries: "list[Line]") -> str:
    """Return the table as CSV (RFC 4180), numbers with all their digits."""
    from distlenet.runs.columns import cells

    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(cells(columns, entry) for entry in entries)
    return text.getvalue()
