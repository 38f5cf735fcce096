"""``distlenet report``: figures and one HTML page of a run.

distlenet report runs/a
distlenet report runs/a --data datasets/fashion.h5 --out public/a
"""

import argparse
import sys
from pathlib import Path

DATA = "datasets/mnist.h5"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("run_directory", type=Path, metavar="RUN", help="directory of a run, ended or not")
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help=f"dataset the run was trained on (default: {DATA}, if it is that)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="directory for the report (default: RUN/report)")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.report.write import write_report

    written = write_report(
        args.run_directory,
        args.data,
        Path(DATA),
        args.out,
        lambda text: print(f"{text} ...", file=sys.stderr, flush=True),
    )
    for note in written.notes:
        print(f"distlenet: note: {note}", file=sys.stderr)
    size = written.page.stat().st_size
    print(f"wrote {written.page} ({size / 1e6:.1f} MB) and {written.figures} figures beside it")
    return 0
