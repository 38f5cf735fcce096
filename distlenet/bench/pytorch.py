"""The same network, batch and update in PyTorch, for comparison; no other module needs PyTorch.

Run as a program it is one rank of DistributedDataParallel over gloo:
    RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500 python -m distlenet.bench.pytorch 128 100
"""

import json
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

LAYOUTS = ("NCHW", "channels_last")
VARIANTS = (*LAYOUTS, "compiled")  # compiled: NCHW with torch.compile, if a C++ compiler exists


def available() -> bool:
    """Whether PyTorch is installed."""
    from importlib.util import find_spec

    return find_spec("torch") is not None


def build(layout: str) -> Any:
    """Return LeNet-5 as a torch module for pictures in ``layout``."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    net = net.to(memory_format=_format(layout))
    return torch.compile(net) if layout == "compiled" else net


def variants(batch_size: int) -> dict[str, tuple[Callable[[], None], Callable[[], None]]]:
    """Return a training step and an inference for each variant that works here, by name."""
    found = {}
    for variant in VARIANTS:
        net = build(variant)
        pair = training_step(net, variant, batch_size), inference(net, variant, batch_size)
        try:
            for call in pair:
                call()
        except Exception:  # torch.compile raises many kinds of errors if it finds no compiler
            continue
        found[variant] = pair
    return found


def _format(layout: str) -> Any:
    import torch

    return torch.channels_last if layout == "channels_last" else torch.contiguous_format


def training_step(net: Any, layout: str, batch_size: int) -> Callable[[], None]:
    """Return a function that takes one step on a normalised batch in memory."""
    import torch
    from torch.nn.functional import cross_entropy

    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    x = torch.randn(batch_size, 1, 28, 28).to(memory_format=_format(layout))
    labels = torch.randint(0, 10, (batch_size,))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(net(x), labels).backward()
        optimizer.step()

    return step


def inference(net: Any, layout: str, batch_size: int) -> Callable[[], None]:
    """Return a function that computes the logits of one batch."""
    import torch

    x = torch.randn(batch_size, 1, 28, 28).to(memory_format=_format(layout))

    def forward() -> None:
        with torch.inference_mode():
            net(x)

    return forward


def main() -> None:
    """Run as one rank: time ``steps`` steps for either layout; rank 0 prints JSON: images/s by layout."""
    import os

    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    local_batch, steps = int(sys.argv[1]), int(sys.argv[2])
    dist.init_process_group("gloo")
    rates = {}
    for layout in LAYOUTS:
        net = DistributedDataParallel(build(layout), gradient_as_bucket_view=True)
        step = training_step(net, layout, local_batch)
        for _ in range(5):
            step()
        seconds = []
        for _ in range(steps):
            start = perf_counter()
            step()
            seconds.append(perf_counter() - start)
        rates[layout] = local_batch * dist.get_world_size() / median(seconds)
    if os.environ["RANK"] == "0":
        print(json.dumps(rates), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
