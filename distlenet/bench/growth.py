"""Do time and memory grow with the training set?

Datasets of growing size are made of repeated drawn digits, and each is trained on for some steps by the real
loop, with augmentation; the sizes take turns, since a machine is rarely quiet for long. For a machine that is not
quiet at all there are the quickest steps (one in twenty is as quick) and the processor's time of a step, with that
of reading ahead and of waiting for other ranks.
"""

import argparse
import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

from distlenet.bench.timing import as_program, last_json, start
from distlenet.data.sources.drawing import read_drawn
from distlenet.data.sources.prepare import prepare
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import on_root
from distlenet.parallel.connect import run_ranks
from distlenet.paths import as_path
from distlenet.runs.experiment import RunOptions, set_up
from distlenet.training.events import StepDone
from distlenet.training.loop import LoopOptions, train
from distlenet.training.signals import Signals

WORK = "--work"  # first argument of a job's rank, followed by dataset, memory limit and steps
DISTINCT = 60_000  # digits that are drawn; larger sets repeat them
MEASURED = {  # measured values: heading, factor to the unit, decimals
    "start": ("start, s", 1, 2),
    "step": ("step, ms", 1e3, 3),
    "quick": ("quick, ms", 1e3, 3),
    "mean": ("mean, ms", 1e3, 3),
    "cpu": ("CPU, ms", 1e3, 3),
    "image": ("us/image", 1e6, 2),
    "peak": ("peak, MB", 1e-6, 0),
    "anon": ("anon, MB", 1e-6, 0),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--sizes", type=int, nargs="+", default=[60_000, 600_000, 6_000_000], metavar="N")
    parser.add_argument("--memory-limits", type=int, nargs="+", default=[128], metavar="MiB", help="per rank")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2000, help="timed steps per job (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="jobs per size (%(default)s)")
    parser.add_argument("--cold", action="store_true", help="drop the system's cache of a file before each job")
    parser.add_argument("--folder", type=as_path, help="where to make and keep the files (default: they are deleted)")


def run(args: argparse.Namespace) -> int:
    """Make the files, run the jobs in turn, print a table; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="growth-", dir=args.folder or Path.cwd()) as temporary:
        folder = args.folder or Path(temporary)
        cases: dict[tuple[int, int], list[dict[str, Any]]] = {
            (size, limit): [] for size in args.sizes for limit in args.memory_limits
        }
        files = {size: make_file(folder, size) for size in args.sizes}
        for _ in range(args.rounds):
            for (size, limit), found in cases.items():
                if args.cold:
                    forget(files[size])
                output = start(args.ranks, "distlenet.bench.growth", WORK, files[size], limit, args.steps)
                found.append(last_json(output))
                print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    head = ["images", "limit, MiB", "read", *(heading for heading, *_ in MEASURED.values())]
    rows = [row(size, limit, found) for (size, limit), found in cases.items()]
    print("\n".join("| " + " | ".join(line) + " |" for line in (head, ["---:"] * len(head), *rows)))
    return 0


def make_file(folder: Path, size: int) -> Path:
    """Return a dataset of ``size`` training images; makes it if the folder does not hold it."""
    path = folder / f"growth-{size}.h5"
    prepare(path, partial(read_drawn, None, train=size, distinct=DISTINCT))
    return path


def forget(path: Path) -> None:
    """Ask the system to drop a file from its cache, so that the next reader waits for the disk."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def work(comm: Communicator, path: str, limit: int, steps: int) -> None:
    """Run as one rank of a job: train on ``path`` for one step, then for ``steps`` timed ones.

    The root prints JSON, of each figure the largest of all ranks.
    """
    flags = {"memory_limit": limit, "validation": 0, "train_sample": 250, "epochs": 10**4}
    signals, started = Signals(), perf_counter()
    all_of_it = set_up(RunOptions(path, "", flags=flags), comm, signals)
    config, leaves = all_of_it.config, all_of_it.leaves
    options = LoopOptions(all_of_it.schedule, config.epochs, signals)
    events = train(all_of_it.state, leaves, all_of_it.epoch_end, options, comm)
    running = (event.seconds for event in events if isinstance(event, StepDone))
    next(running)
    start, cpu = perf_counter() - started, process_time()
    seconds = [next(running) for _ in range(steps)]
    report = {"streamed": leaves.streamed, "start": start, "cpu": (process_time() - cpu) / steps}
    report |= {"step": median(seconds), "mean": sum(seconds) / steps, "image": median(seconds) / config.batch_size}
    report |= {"quick": sorted(seconds)[steps // 20], "peak": memory("VmHWM"), "anon": memory("RssAnon")}
    reports = comm.allgather(report)
    largest = {name: max(one[name] for one in reports) for name in report}
    on_root(comm, lambda: print(json.dumps(largest), flush=True))


def memory(name: str) -> int:
    """Return bytes of this process's memory: VmHWM (its peak) or RssAnon (without mapped files)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise KeyError(name)


def row(size: int, limit: int, found: list[dict]) -> list[str]:
    """Return a row of the table: medians over the jobs, but the least quick step and CPU time."""
    cells = [f"{size:,}", str(limit), "streamed" if found[0]["streamed"] else "in memory"]
    for name, (_, factor, decimals) in MEASURED.items():
        values = [job[name] for job in found]
        cells.append(f"{factor * (min(values) if name in ('quick', 'cpu') else median(values)):.{decimals}f}")
    return cells


if __name__ == "__main__":
    if sys.argv[1:2] == [WORK]:
        file, *limits = sys.argv[2:]
        sys.exit(run_ranks(lambda comm: work(comm, file, *map(int, limits))))
    sys.exit(as_program(configure, run, __doc__))
