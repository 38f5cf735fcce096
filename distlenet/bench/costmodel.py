"""The cost model's tables as plain text, for a terminal and for SCALING.md, from stored parameters."""

import argparse
import os
import sys
from collections.abc import Sequence

from distlenet.bench import costfit, scaling
from distlenet.bench.scaling import Compute, Plan, Transport, efficiency, exchanging, traffic, wire
from distlenet.bench.timing import as_program

RANKS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
LEAF = 32


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---:"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def strong(batch: int, per_host: int) -> list[Plan]:
    """Return plans of one batch on more and more ranks: at least one shard per rank, at most 64 images per leaf."""
    shards = [max(8, ranks, batch // 64) for ranks in RANKS]
    return [Plan(ranks, count, batch, min(per_host, ranks)) for ranks, count in zip(RANKS, shards, strict=True)]


def weak(leaves: int, per_host: int) -> list[Plan]:
    """Return plans with ``leaves`` leaves of 32 images on every rank."""
    return [Plan(ranks, leaves * ranks, LEAF * leaves * ranks, min(per_host, ranks)) for ranks in RANKS]


def efficiencies(network: str, tcp: Transport, compute: Compute, per_host: int) -> str:
    """Return the table of efficiencies over one network."""
    lines = {f"batch {batch:,}": strong(batch, per_host) for batch in (256, 512, 1024, 4096)}
    lines |= {f"{leaves} x {LEAF} a rank": weak(leaves, per_host) for leaves in (1, 8)}
    rows = []
    for name, plans in lines.items():
        shares = [efficiency(plan, wire(network, tcp), compute) for plan in plans if plan.batch >= plan.shards]
        rows.append([name, *(f"{100 * share:.0f}" for share in shares), *[""] * (len(plans) - len(shares))])
    return table([f"{network}, {per_host} a host", *map(str, RANKS)], rows)


def exchanges(tcp: Transport, per_host: int) -> str:
    """Return the table of the exchange's milliseconds, with one leaf per rank, over each network."""
    plans = weak(1, per_host)
    rows = [[name, *(f"{1e3 * exchanging(plan, wire(name, tcp)):.2f}" for plan in plans)] for name in scaling.WIRES]
    stages = ["stages", *(str(len(traffic(plan.ranks, plan.per_host, plan.shards))) for plan in plans)]
    return table([f"ms, {per_host} a host", *map(str, RANKS)], [*rows, stages])


def parameters(compute: Compute, transports: dict[str, Transport]) -> str:
    """Return the parameters in microseconds, or nanoseconds per byte."""
    rows = [[name, f"{1e6 * value:.2f} us"] for name, value in vars(compute).items()]
    for name, by in transports.items():
        rows += [
            [f"{name}: latency per stage, there or back", f"{1e6 * by.latency:.2f} us"],
            [f"{name}: overhead per message, at either end", f"{1e6 * by.overhead:.2f} us"],
            [f"{name}: time per byte, at either end", f"{1e9 * by.copy:.3f} ns"],
        ]
    return table(["parameter", "value"], rows)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--measure", action="store_true", help="fit to this machine first, in about half a minute")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each job (%(default)s)")
    parser.add_argument("--tcp", metavar="MPIRUN", help="with --measure: words that start Python on 2 hosts' ranks")
    parser.add_argument("--ranks-per-host", type=int, default=1, choices=(1, 2, 4, 8, 16, 32))


def run(args: argparse.Namespace) -> int:
    """Print all tables; return the exit code."""
    compute, transports = scaling.COMPUTE, {"shared memory": scaling.SHARED_MEMORY, "TCP": scaling.TCP}
    if args.measure:
        compute, transports = measure(args.rounds, args.tcp, transports)
    print(parameters(compute, transports))
    for network in scaling.WIRES:
        shares = efficiencies(network, transports["TCP"], compute, args.ranks_per_host)
        print(f"\nEfficiency in percent\n\n{shares}")
    print(f"\nThe exchange\n\n{exchanges(transports['TCP'], args.ranks_per_host)}")
    return 0


def measure(rounds: int, tcp: str | None, transports: dict[str, Transport]) -> tuple[Compute, dict[str, Transport]]:
    """Fit the model to this machine; print predicted and measured seconds."""
    print(f"load before: {os.getloadavg()[0]:.1f}\n")
    found = costfit.measure_steps([(1, *layout) for layout in costfit.LAYOUTS], 60, rounds)
    seconds = dict(zip(costfit.LAYOUTS, found, strict=True))
    compute = costfit.fit_compute(
        {layout: min(values) for layout, values in seconds.items()},
        costfit.measure_addition(scaling.FLOATS, 20 * rounds),
    )
    rows = [
        compare(f"1 rank, batch {batch}, {shards} shards", scaling.computing(Plan(1, shards, batch), compute), values)
        for (batch, shards), values in seconds.items()
    ]
    jobs = {"shared memory": None} | ({"TCP": tcp} if tcp else {})
    for name, words in jobs.items():
        reports = [costfit.run_exchange(2, words) for _ in range(rounds)]
        transports = transports | {name: costfit.fit_transport(costfit.fastest(reports))}
        for place, (floats, shards, _) in enumerate(reports[0]["rows"]):
            (stage,) = traffic(2, 2, shards, floats)
            what = f"{name}, {floats:,} floats, {stage.messages:.0f} messages"
            rows.append(compare(what, stage.time(transports[name]), [report["rows"][place][2] for report in reports]))
    cores = len(os.sched_getaffinity(0))
    crowd = max(1.0, 4 / cores)  # ranks that share cores take turns
    exchange = [costfit.gradient_seconds(costfit.run_exchange(4)) for _ in range(rounds)]
    predicted = crowd * exchanging(Plan(4, 4, 4, 4), transports["TCP"], transports["shared memory"])
    rows.append(compare(f"the exchange alone on 4 ranks, {cores} cores", predicted, exchange))
    sizes = (1, 2, 4)
    found = costfit.measure_steps([(ranks, 256, 8) for ranks in sizes], 100, rounds)
    for ranks, values in zip(sizes, found, strict=True):
        plan = Plan(ranks, 8, 256, ranks)
        crowd = max(1.0, ranks / cores)
        predicted = scaling.computing(plan, compute, cores)
        predicted += crowd * exchanging(plan, transports["TCP"], transports["shared memory"]) if ranks > 1 else 0.0
        rows.append(compare(f"a step on {ranks} ranks, {cores} cores", predicted, values))
    print(table(["what", "predicted, ms", "measured, ms (fastest)", "slowest", "error"], rows), end="\n\n")
    return compute, transports


def compare(what: str, predicted: float, measured: Sequence[float]) -> list[str]:
    """Return a row: predicted seconds, the fastest measured ones."""
    value = min(measured)
    slowest = f"{1e3 * max(measured):.3f}"
    return [what, f"{1e3 * predicted:.3f}", f"{1e3 * value:.3f}", slowest, f"{100 * (predicted / value - 1):+.0f} %"]


if __name__ == "__main__":
    sys.exit(as_program(configure, run, f"{__doc__}\n{scaling.__doc__}"))
