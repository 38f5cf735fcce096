"""``distlenet report``: figures and one HTML page of a run, of a ``repeat`` or ``compare``, or of a ``scale``.

distlenet report runs/a
distlenet report runs/activations    many runs: their table, curves and spread
distlenet report runs/a --data datasets/fashion.h5 --out public/a
"""

import argparse
import sys
from pathlib import Path

from distlenet.commands.options import add_trust, make_trust
from distlenet.paths import as_path
from distlenet.streams import clean, note, say

DATA = "datasets/mnist.h5"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "run_directory", type=as_path, metavar="RUN", help="directory of a run, ended or not; or of many"
    )
    parser.add_argument(
        "--data", type=as_path, metavar="FILE", help=f"dataset the run was trained on (default: {DATA}, if it matches)"
    )
    parser.add_argument("--out", type=as_path, metavar="DIR", help="directory for the report (default: RUN/report)")
    parser.add_argument(
        "--each", action="store_true", help="many runs: make the report of each as well, and link to it"
    )
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from distlenet.bench.study import is_study, read_study
    from distlenet.bench.study_results import make_rows, remarks, summarize
    from distlenet.report.run import write_report
    from distlenet.report.scale import write_study_report
    from distlenet.report.series import write_series_report
    from distlenet.series.record import is_series

    def progress(text: str) -> None:
        print(f"{clean(text)} ...", file=sys.stderr, flush=True)

    trust = make_trust(args, args.model)
    if is_study(args.run_directory):
        results = summarize(*read_study(args.run_directory))
        out = args.out or args.run_directory / "report"
        written = write_study_report(out, results, make_rows(results), remarks(results))
    elif is_series(args.run_directory):
        report_run = (lambda path: write_report(path, args.data, Path(DATA), None, trust=trust)) if args.each else None
        written = write_series_report(args.run_directory, args.out, progress, report_run)
    else:
        written = write_report(args.run_directory, args.data, Path(DATA), args.out, progress, trust)
    for text in written.notes:
        note(text)
    size = written.page.stat().st_size
    say(f"wrote {written.page} ({size / 1e6:.1f} MB) and {written.figures} figures next to it")
    return 0
