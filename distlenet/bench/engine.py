"""The whole measurement of ``distlenet bench``: the contest with the peers, its ratios, and where our time goes."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

from distlenet.bench.breakdown import time_layers, time_leaf_sizes, time_parts
from distlenet.bench.contest import Row, hold
from distlenet.bench.peers.catalogue import OURS
from distlenet.bench.peers.machine import COPY_BYTES, PRODUCT_FLOPS
from distlenet.bench.peers.peer import Peer
from distlenet.bench.timing import spread
from distlenet.bench.workload import MULTIPLY_ADDS, TRAINING_FLOPS
from distlenet.errors import LaunchError
from distlenet.numerics import numerics

COMPARED = ("train", "infer", "ranks")  # kinds in which peers compete
PREFIXES = (  # of variables that decide which instructions and how many threads a library uses
    *("OPENBLAS_", "MKL_", "BLIS_", "OMP_", "GOMP_", "KMP_", "NPY_", "ATEN_", "ONEDNN_", "DNNL_"),
    *("XLA_", "TF_XLA_", "TF_ENABLE_", "TF_NUM_"),
)


def measure(
    libraries: Sequence[ModuleType],
    batch_size: int,
    shards: int,
    ranks: int,
    rounds: int,
    steps: int,
    tell: Callable[[str], object] = lambda text: None,
) -> dict[str, Any]:
    """Compare this trainer with the peers of ``libraries``; returns the report, see ``bench/README.md``."""
    rows = hold(entries([*OURS, *libraries], batch_size, shards, ranks), rounds, steps, tell)
    for row in rows:
        if row.error and row.name.startswith(("distlenet", "numpy")):
            raise LaunchError(f"the benchmark of {row.name} failed: {row.error}")
    found = {(row.name, row.kind, row.ranks): row for row in rows}
    ours = {kind: found["distlenet", kind, 1] for kind in ("train", "augmented", "infer", "portable")}
    middle = {kind: median(row.seconds) for kind, row in ours.items()}
    limits = {kind: median(found["numpy", kind, 1].seconds) for kind in ("sgemm", "bandwidth")}
    peak = PRODUCT_FLOPS / limits["sgemm"]
    ratios = {
        "sgemm_share": batch_size / middle["train"] * TRAINING_FLOPS / peak,
        "inference_sgemm_share": batch_size / middle["infer"] * 2 * MULTIPLY_ADDS / peak,
        "augment_share": 1 - middle["train"] / middle["augmented"],
        "portable_cost": middle["portable"] / middle["train"],
    }
    many = [row for row in rows if row.name.startswith("distlenet, ")]
    rates = {row.ranks: batch_size / median(row.seconds) for row in many if row.kind == "ranks"}
    ratios |= {f"scaling_{size}_ranks": rate * middle["train"] / batch_size for size, rate in rates.items()}
    if many:
        ours["ranks"], exchange, allreduce = (row for row in many if row.ranks == ranks)
        ratios["reduce_share"] = median(ours["ranks"].figures["reduce_share"])
        ratios["exchange_vs_allreduce"] = (
            median(exchange.figures["exchange_microseconds"]) / 1e6 / median(allreduce.seconds)
        )
    results = [result(row, ours[row.kind], batch_size) for row in rows if row.kind in ours]
    ratios |= compared(results)
    return {
        **{"batch_size": batch_size, "shards": shards, "ranks": ranks, "numerics": numerics()},
        **{"cpu": cpu(), "cores": len(os.sched_getaffinity(0)), "settings": settings(os.environ)},
        **{"peers": results, "ratios": ratios, "ahead": ahead(results)},
        "images_per_second": {label(one): one["images_per_second"] for one in results if not one["error"]},
        "milliseconds": {label(one): one["milliseconds"] for one in results if not one["error"]},
        **{"sgemm_gflops": peak / 1e9, "memory_gb_per_second": COPY_BYTES / limits["bandwidth"] / 1e9},
        **{
            "layers": time_layers(batch_size // shards, 20 * rounds),
            "parts": time_parts(batch_size, shards, 5 * rounds),
        },
        "leaf_sizes": time_leaf_sizes(rounds, peak),
    }


def entries(
    libraries: Sequence[ModuleType], batch_size: int, shards: int, ranks: int
) -> list[tuple[type[Peer], dict[str, Any]]]:
    """Return each peer with its request: one core for all, so that they share its luck, or as many as ``ranks``.

    Our own ranks are measured on 2, 4, 8, ... of them too. With one rank, peers of several cores are left out.
    """
    allowed, found = sorted(os.sched_getaffinity(0), reverse=True), []
    sizes = sorted({ranks, *(2**power for power in range(1, ranks.bit_length()))} - {1})
    for library in libraries:
        for peer in library.PEERS:
            several = "ranks" in peer.kinds
            for size in (sizes if peer.by_mpirun else sizes[-1:]) if several else [1]:
                cores = [allowed[place % len(allowed)] for place in range(size)]
                found.append((peer, {"batch_size": batch_size, "shards": shards, "cores": cores}))
    return found


def result(row: Row, ours: Row, batch_size: int) -> dict[str, Any]:
    """Return the figures of ``row``; "ours" is the number of times that this trainer is as fast."""
    facts: dict[str, Any] = {"name": row.name, "kind": row.kind, "cores": row.ranks, "version": row.version}
    if row.error:
        return {**facts, "error": row.error}
    mine, theirs = spread(ours.seconds), spread(row.seconds)
    return {
        **facts,
        "error": None,
        "images_per_second": batch_size / theirs["median"],
        "best_tenth": batch_size / theirs["best_tenth"],
        "ours": theirs["median"] / mine["median"],
        "ours_best_tenth": theirs["best_tenth"] / mine["best_tenth"],
        "milliseconds": {name: 1e3 * value for name, value in theirs.items()},
    }


def rivals(results: Sequence[Mapping[str, Any]], kind: str, prefix: str = "") -> list[Mapping[str, Any]]:
    """Return the results of peers in ``kind`` whose name starts with ``prefix``."""
    return [
        one
        for one in results
        if one["kind"] == kind and one["name"].startswith(prefix) and not one["error"] and not is_ours(one)
    ]


def is_ours(one: Mapping[str, Any]) -> bool:
    """Whether it is a result of this trainer."""
    return one["name"].startswith("distlenet")


def compared(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return how many times as fast this trainer is as the best of PyTorch, of DDP, and of all peers."""
    size = max(one["cores"] for one in results)
    names = {
        "train_vs_pytorch": ("train", "PyTorch"),
        "inference_vs_pytorch": ("infer", "PyTorch"),
        f"train_{size}_ranks_vs_ddp": ("ranks", "PyTorch, DDP"),
        "train_vs_best": ("train", ""),
        "inference_vs_best": ("infer", ""),
        f"train_{size}_ranks_vs_best": ("ranks", ""),
    }
    found = {name: [one["ours"] for one in rivals(results, *which)] for name, which in names.items()}
    return {name: min(times) for name, times in found.items() if times}


def ahead(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the labels of the peers that are faster than this trainer, by median or best tenth."""
    return [
        label(one) for kind in COMPARED for one in rivals(results, kind) if min(one["ours"], one["ours_best_tenth"]) < 1
    ]


def label(one: Mapping[str, Any]) -> str:
    """Return "PyTorch, NCHW: train"; this trainer's own are "train", "infer" and "ranks: 2"."""
    if not is_ours(one):
        return f"{one['name']}: {one['kind']}"
    return {"augmented": "train, augmented", "portable": "train, portable", "ranks": f"ranks: {one['cores']}"}.get(
        one["kind"], one["kind"]
    )


def cpu() -> str:
    """Return the CPU's name, with the numbers of family and model, which say more."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    numbers = [f"{name.split()[-1]} {facts[name]}" for name in ("cpu family", "model") if name in facts]
    return f"{facts.get('model name', 'unknown')} ({', '.join(numbers) or os.uname().machine})"


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables set from outside that change the speed; one thread for each process is our own default."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith(PREFIXES) and not (name.endswith("_NUM_THREADS") and value == "1")
    }
