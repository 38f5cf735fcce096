"""Prints the reports of ``distlenet doctor`` and ``distlenet bench``."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from distlenet.processes import ranges
from distlenet.streams import clean
from distlenet.ui.console import make_console
from distlenet.ui.tables import table

MEANINGS = {
    "train_vs_pytorch": "training on one core, compared with the best of PyTorch",
    "inference_vs_pytorch": "inference on one core, compared with the best of PyTorch",
    "train_vs_best": "training on one core, compared with the best of all peers",
    "inference_vs_best": "inference on one core, compared with the best of all peers",
    "sgemm_share": "useful arithmetic of training, as a share of the matrix-product peak",
    "inference_sgemm_share": "the same for inference",
    "augment_share": "augmentation, as a share of the step",
    "portable_cost": "time of a step in portable arithmetic, compared with a native one",
    "reduce_share": "exchange between ranks, as a share of the step",
    "exchange_vs_allreduce": "the exchange, compared with MPI's Allreduce of one vector per rank",
}
KINDS = {  # the tables of peers
    "train": "training, one core",
    "augmented": "training with augmentation, one core",
    "infer": "inference, one core",
    "portable": "reproducible training, one core",
    "ranks": "training, {ranks} cores",
}
RATES = ("train", "train_sgemm_share", "infer", "infer_sgemm_share")  # columns for each leaf size


def show_doctor(report: Mapping[str, Any]) -> None:
    """Print facts about the job, one row per rank, and advice."""
    console = make_console()
    for part in (facts_table(report), ranks_table(report)):
        console.print(part)
        console.print()
    for sentence in report["advice"] or ["nothing to fix"]:
        console.print(Text(f"* {clean(sentence)}" if report["advice"] else sentence))


def facts_table(report: Mapping[str, Any]) -> Table:
    """Return the facts about the whole job."""
    library, mpirun, locking = report["mpi"], report["mpirun"], report["locking"]
    belongs = {
        True: "belongs to this MPI",
        False: "does NOT belong to this MPI",
        None: "it is unknown whether it belongs to this MPI",
    }
    tolerant = report["fault_tolerance"]
    rows = {
        "MPI library": library.get("error")
        or f"{library['name']} {library['version']} (MPI {library['standard']}), {library['path']}",
        "launcher": report["launcher"] or "none: one process, MPI is not loaded",
        "mpirun on PATH": f"{mpirun['on_path']}: {mpirun['name']} {mpirun['version']}, "
        f"{belongs[report['mpirun_belongs']]}"
        if mpirun["on_path"]
        else f"none ({mpirun['to_use']} exists)"
        if mpirun["to_use"]
        else "none",
        "fault tolerance": f"{'yes' if tolerant['on'] else 'no'}: {tolerant['why']}",
        "file locks": f"flock {locking['flock']}, HDF5's {locking['hdf5']}, in {locking['folder']}",
        "terminal": f"{report['terminal']['mode']}: {report['terminal']['why']}",
        "self-test": _self_test(report["ranks"]),
        **({"slowest rank": report["slowest"]["text"]} if report["slowest"] else {}),
        "versions": ", ".join(f"{name} {number}" for name, number in report["ranks"][0]["versions"].items()),
    }
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, text in rows.items():
        facts.add_row(name, Text(clean(text)))
    return facts


def _self_test(ranks: Sequence[Mapping[str, Any]]) -> str:
    """Return the results of the first rank that failed, else of the first."""
    found = next((rank["self_test"] for rank in ranks if rank["self_test"]["culprit"]), ranks[0]["self_test"])
    twice = "twice the same bits" if found["repeats"] else "DIFFERENT bits the second time"
    known = "the known bits" if found["known"] else "WRONG bits"
    return (
        f"native ({found['kernel']} kernel): {twice}; portable: {known} ({found['portable'][:12]}); "
        f"{found['seconds']:.1f} s"
    )


def ranks_table(report: Mapping[str, Any]) -> Table:
    """Return a table with one row per rank; of several ranks also the times for a leaf, all at once and alone."""
    rows, paced = [], report["slowest"] is not None
    for rank, facts in enumerate(report["ranks"]):
        cores, total = facts["cores"], facts["cores_of_host"]
        allowed = f"cores {ranges(cores)} of {total}" if len(cores) < total else f"all {total} cores"
        times = [f"{1e3 * seconds:.2f}" for seconds in facts["pace"].values()] if paced else []
        rows.append((rank, facts["host"], allowed, facts["blas"], facts["kernel"], facts["threads"] or "?", *times))
    heads = ("rank", "host", "may run on", "BLAS", "kernel", "threads", *("leaf ms: together", "alone")[: 2 * paced])
    return table(heads, rows, words=5)


def show_bench(report: Mapping[str, Any]) -> None:
    """Print all speeds, the peers that are ahead or missing, ratios, and how our time is spent."""
    numerics, whole = report["numerics"], sum(report["parts"].values())
    console = make_console()
    for sentence in (
        f"{report['cpu']}, {report['cores']} cores; on one: sgemm peak {report['sgemm_gflops']:.0f} GFLOP/s, "
        f"memory {report['memory_gb_per_second']:.1f} GB/s; numpy {numerics['numpy']}, {numerics['kernel']} kernel",
        f"global batch {report['batch_size']}, ours in {report['shards']} leaves; all take turns",
        *(f"set from outside: {name}={value}" for name, value in report["settings"].items()),
    ):
        console.print(Text(clean(sentence)))
    ratios = [(name, f"{value:.3f}", meaning(name)) for name, value in report["ratios"].items()]
    layers = [(name, f"{us['forward']:.0f}", f"{us['backward']:.0f}") for name, us in report["layers"].items()]
    parts = [(name, f"{value:.2f}", f"{value / whole:.1%}") for name, value in report["parts"].items()]
    sizes = [
        (size, *(f"{rate[way]:,.0f}" if way in ("train", "infer") else f"{rate[way]:.2f}" for way in RATES))
        for size, rate in report["leaf_sizes"].items()
    ]
    leaf = report["batch_size"] // report["shards"]
    for shown in (
        table(("", "version", "images/s", "best tenth", "ours", "best tenth"), speeds(report), words=2),
        Text(clean("\n".join(verdict(report)))),
        table(("ratio", "", "meaning"), ratios, words=3),
        table((f"layer, leaf of {leaf}", "forward us", "backward us"), layers),
        table(("part of the step, augmented", "ms", "share"), parts),
        table(("leaf, network alone", "train images/s", "share of peak", "infer images/s", "share of peak"), sizes),
    ):
        console.print()
        console.print(shown)


def speeds(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of all peers, under a heading for each kind; "ours" is how many times as fast this trainer is."""
    rows: list[tuple[str, ...]] = []
    for kind, heading in KINDS.items():
        found = [one for one in report["peers"] if one["kind"] == kind]
        rows += [("", *[""] * 5), (heading.format(**report), *[""] * 5)] if found else []
        for one in found:
            if one["error"]:
                rows.append((f"  {one['name']}", f"{one['version']} {one['error']}".strip(), *["-"] * 4))
                continue
            rates = (f"{one[name]:,.0f}" for name in ("images_per_second", "best_tenth"))
            times = (f"{one[name]:.2f} x" for name in ("ours", "ours_best_tenth"))
            rows.append((f"  {one['name']}", one["version"], *rates, *times))
    return rows[1:]


def verdict(report: Mapping[str, Any]) -> list[str]:
    """Return sentences: which peers are ahead, and which are missing."""
    sentences = [f"not installed: {name} ({line})" for name, line in report.get("missing", {}).items()]
    compared = any(not one["name"].startswith("distlenet") for one in report["peers"])
    if compared or report["ahead"]:
        sentences.insert(0, f"ahead of distlenet: {'; '.join(report['ahead']) or 'none of them'}")
    return sentences


def meaning(ratio: str) -> str:
    """Return the meaning of the ratio of this name."""
    for word, text in {
        "_vs_ddp": "compared with DistributedDataParallel over gloo on as many cores",
        "ranks_vs_best": "compared with the best of all peers on as many cores",
        "scaling": "training on several ranks, compared with one",
    }.items():
        if word in ratio:
            return text
    return MEANINGS.get(ratio, "")
