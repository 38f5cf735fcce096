"""The tables of ``distlenet bench``."""

from typing import Any

from rich.console import Console
from rich.table import Table

from distlenet.ui.console import make_console

MEANINGS = {
    "train_vs_pytorch": "training, one core, against the best PyTorch layout",
    "inference_vs_pytorch": "inference, one core, against the best PyTorch layout",
    "sgemm_share": "useful arithmetic of training, share of the matrix-product peak",
    "inference_sgemm_share": "the same of inference",
    "augment_share": "augmentation, share of the step",
    "reduce_share": "exchange between ranks, share of the step",
    "exchange_vs_allreduce": "the exchange, against MPI's Allreduce of one vector a rank",
}


def show(report: dict[str, Any]) -> None:
    """Print ``report`` of commands/bench.py."""
    console = make_console()
    numerics = report["numerics"]
    console.print(
        f"global batch {report['batch_size']} in {report['shards']} leaves; numpy {numerics['numpy']}, "
        f"{numerics['kernel']} kernel, sgemm peak {report['sgemm_gflops']:.0f} GFLOP/s a core"
    )
    rates = Table("", "images/s", "ms a batch", "quartiles")
    for name, rate in report["images_per_second"].items():
        spread = report["milliseconds"].get(name)
        cells = [f"{spread['median']:.2f}", f"{spread['low']:.2f} - {spread['high']:.2f}"] if spread else ["", ""]
        rates.add_row(name, f"{rate:,.0f}", *cells)
    if "ddp_images_per_second" in report:
        rates.add_row(f"PyTorch DDP, {report['ranks']} ranks", f"{report['ddp_images_per_second']:,.0f}", "", "")
    console.print(rates)
    ratios = Table("ratio", "", "meaning")
    for name, value in report["ratios"].items():
        meaning = MEANINGS.get(name, "training on several ranks against one" if "scaling" in name else "")
        if name.endswith("_vs_ddp"):
            meaning = "the same number of ranks, against DistributedDataParallel over gloo"
        ratios.add_row(name, f"{value:.3f}", meaning)
    console.print(ratios)
    show_breakdown(report, console)


def show_breakdown(report: dict[str, Any], console: Console) -> None:
    """Print where the time goes."""
    leaf = report["batch_size"] // report["shards"]
    layers = Table(f"layer, leaf of {leaf}", "forward us", "backward us")
    for name, ways in report["layers"].items():
        layers.add_row(name, f"{ways['forward']:.0f}", f"{ways['backward']:.0f}")
    console.print(layers)
    parts = Table("part of the step, augmented", "ms", "share")
    whole = sum(report["parts"].values())
    for name, value in report["parts"].items():
        parts.add_row(name, f"{value:.2f}", f"{value / whole:.1%}")
    console.print(parts)
    sizes = Table("leaf, network alone", "train images/s", "share of peak", "infer images/s", "share of peak")
    for size, rate in report["leaf_sizes"].items():
        sizes.add_row(
            str(size),
            f"{rate['train']:,.0f}",
            f"{rate['train_sgemm_share']:.2f}",
            f"{rate['infer']:,.0f}",
            f"{rate['infer_sgemm_share']:.2f}",
        )
    console.print(sizes)
