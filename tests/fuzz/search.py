"""``scripts/test --fuzz MINUTES``: random runs with random faults must end as they do undisturbed.

A case is drawn from one seed; ``--fuzz-seed SEED`` repeats it. The folder keeps the files of failures.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import count
from multiprocessing import get_context
from pathlib import Path

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))  # before numpy
sys.path[:0] = map(str, Path(__file__).resolve().parents[1:3])  # tests, and this checkout's distlenet

from fuzz.case import Case
from fuzz.inside import InnerTrial
from fuzz.runs import Trial, Wrong, without_missing


def try_case(seed: int, folder: Path) -> str | None:
    """Run the case in ``folder``; return the fault found, or None: then only the case's report is kept."""
    case = without_missing(Case.draw(seed))
    own, datasets, log, wrong = folder / f"seed-{seed}", folder / "data", [], None
    try:
        shutil.rmtree(own, ignore_errors=True)
        datasets.mkdir(exist_ok=True)
        trial = (InnerTrial if case.inside else Trial)(case, own, case.small.write(datasets), log)
        trial.check()
    except Wrong as error:
        wrong = str(error)
    except Exception as error:
        wrong = f"the search itself failed\n{''.join(traceback.format_exception(error))}"
    report = "\n".join([case.description(), "", "What happened:", *log, *([f"WRONG: {wrong}"] if wrong else [])])
    (folder / f"seed-{seed}.txt").write_text(report + "\n")
    if wrong:
        return report
    shutil.rmtree(own)
    return None


def search(seeds: Iterator[int], minutes: float, jobs: int, folder: Path) -> list[int]:
    """Try ``seeds``, ``jobs`` at a time, for ``minutes`` or until all are tried; return those that failed."""
    end, tried, failed, running = time.monotonic() + 60 * minutes, 0, [], {}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=20) as pool:
        while True:
            while len(running) < jobs and time.monotonic() < end:
                if (seed := next(seeds, None)) is None:
                    break
                running[pool.submit(try_case, seed, folder)] = seed
            if not running:
                return failed
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                seed, error = running.pop(future), future.exception()
                report = future.result() if error is None else f"seed {seed} was not tried: {error!r}"
                tried += 1
                if report:
                    failed.append(seed)
                    print(f"{report}\n== seed {seed} failed; its files: {folder}/seed-{seed}")
                    print(f"== repeat it: scripts/test --fuzz-seed {seed}", flush=True)
            if tried % 20 == 0 or not running:
                print(f"{tried} cases, the latest of seed {seed}; failed: {failed or 'none'}", flush=True)


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/test", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--fuzz", type=float, metavar="MINUTES", help="search for so long")
    what.add_argument("--fuzz-seed", type=int, nargs="+", metavar="SEED", help="repeat these cases")
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="of --fuzz (%(default)s)")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1) // 2), help="at a time (%(default)s)")
    parser.add_argument("--folder", type=Path, help="of reports and files (default: a temporary one)")
    args = parser.parse_args()
    folder = (args.folder or Path(tempfile.mkdtemp(prefix="distlenet-fuzz-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    seeds = iter(args.fuzz_seed) if args.fuzz_seed else count(args.first)
    failed = search(seeds, args.fuzz or float("inf"), args.jobs, folder)
    if not failed and not args.folder:
        shutil.rmtree(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
