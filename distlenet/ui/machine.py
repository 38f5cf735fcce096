"""Prints the reports of ``distlenet doctor`` and ``distlenet bench``."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from distlenet.doctor.rank import ranges
from distlenet.streams import clean
from distlenet.ui.console import make_console
from distlenet.ui.tables import table

MEANINGS = {
    "train_vs_pytorch": "training on one core, compared with the best PyTorch layout",
    "inference_vs_pytorch": "inference on one core, compared with the best PyTorch layout",
    "sgemm_share": "useful arithmetic of training, as a share of the matrix-product peak",
    "inference_sgemm_share": "the same for inference",
    "augment_share": "augmentation, as a share of the step",
    "reduce_share": "exchange between ranks, as a share of the step",
    "exchange_vs_allreduce": "the exchange, compared with MPI's Allreduce of one vector per rank",
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
        "versions": ", ".join(f"{name} {number}" for name, number in report["ranks"][0]["versions"].items()),
    }
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, text in rows.items():
        facts.add_row(name, Text(clean(text)))
    return facts


def ranks_table(report: Mapping[str, Any]) -> Table:
    """Return a table with one row per rank."""
    rows = []
    for rank, facts in enumerate(report["ranks"]):
        cores, total = facts["cores"], facts["cores_of_host"]
        allowed = f"cores {ranges(cores)} of {total}" if len(cores) < total else f"all {total} cores"
        rows.append((rank, facts["host"], allowed, facts["blas"], facts["kernel"], facts["threads"] or "?"))
    return table(("rank", "host", "may run on", "BLAS", "kernel", "threads"), rows, words=5)


def show_bench(report: Mapping[str, Any]) -> None:
    """Print speeds, ratios, and how the time is spent."""
    numerics, whole = report["numerics"], sum(report["parts"].values())
    console = make_console()
    console.print(
        f"global batch {report['batch_size']} in {report['shards']} leaves; numpy {numerics['numpy']}, "
        f"{numerics['kernel']} kernel, sgemm peak {report['sgemm_gflops']:.0f} GFLOP/s per core"
    )
    ratios = [(name, f"{value:.3f}", meaning(name)) for name, value in report["ratios"].items()]
    layers = [(name, f"{us['forward']:.0f}", f"{us['backward']:.0f}") for name, us in report["layers"].items()]
    parts = [(name, f"{value:.2f}", f"{value / whole:.1%}") for name, value in report["parts"].items()]
    sizes = [
        (size, *(f"{rate[way]:,.0f}" if way in ("train", "infer") else f"{rate[way]:.2f}" for way in RATES))
        for size, rate in report["leaf_sizes"].items()
    ]
    leaf = report["batch_size"] // report["shards"]
    for shown in (
        table(("", "images/s", "ms per batch", "quartiles"), speeds(report)),
        table(("ratio", "", "meaning"), ratios, words=3),
        table((f"layer, leaf of {leaf}", "forward us", "backward us"), layers),
        table(("part of the step, augmented", "ms", "share"), parts),
        table(("leaf, network alone", "train images/s", "share of peak", "infer images/s", "share of peak"), sizes),
    ):
        console.print()
        console.print(shown)


def speeds(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a row for each measured speed: name, images/s, and the spread of a batch's time if known."""
    rows: list[tuple[str, ...]] = []
    for name, rate in report["images_per_second"].items():
        spread = report["milliseconds"].get(name)
        cells = (f"{spread['median']:.2f}", f"{spread['low']:.2f} - {spread['high']:.2f}") if spread else ("", "")
        rows.append((name, f"{rate:,.0f}", *cells))
    if "ddp_images_per_second" in report:
        rows.append((f"PyTorch DDP, {report['ranks']} ranks", f"{report['ddp_images_per_second']:,.0f}", "", ""))
    return rows


def meaning(ratio: str) -> str:
    """Return the meaning of the ratio of this name."""
    if ratio.endswith("_vs_ddp"):
        return "compared with DistributedDataParallel over gloo on the same number of ranks"
    return MEANINGS.get(ratio, "training on several ranks, compared with one" if "scaling" in ratio else "")
