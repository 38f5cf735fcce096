"""The tables of ``distlenet bench``."""

from typing import Any

from rich.table import Table

from distlenet.ui.tables import make_console

MEANINGS = {
    "train_vs_pytorch": "training, one core, against the best PyTorch layout",
    "inference_vs_pytorch": "inference, one core, against the best PyTorch layout",
    "sgemm_share": "useful arithmetic of training, share of the matrix-product peak",
    "inference_sgemm_share": "the same of inference",
    "augment_share": "augmentation, share of the step",
    "reduce_share": "exchange between ranks, share of the step",
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
