"""One rank of a recipe in DistributedDataParallel: ``python -m distlenet.bench.pytorch_race DATA RECIPE SEED``.

The same network, initial weights' law, batch, optimizer, schedule, clip and weight decay; images wait in memory,
normalised. Rank 0 prints JSON: test accuracy and seconds of training.
"""

import json
import os
import sys
from time import perf_counter

import numpy as np

from distlenet.bench.pytorch import build
from distlenet.config import build_config
from distlenet.data.file.dataset_file import open_digit_file
from distlenet.errors import ConfigError
from distlenet.nn import build_schedule


def main() -> None:
    """Train, evaluate on the test images, print."""
    import torch
    import torch.distributed as dist
    from torch.nn.functional import cross_entropy
    from torch.nn.parallel import DistributedDataParallel

    config = build_config(sys.argv[2], None, {"seed": int(sys.argv[3])})
    if config.rotate or config.shift or config.zoom or config.optimizer != "nesterov":
        raise ConfigError(f"recipe {sys.argv[2]} augments, or does not use nesterov: PyTorch's side supports neither")
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    digits = open_digit_file(sys.argv[1])
    held = digits.length("train") // 12

    def load(split: str, start: int, stop: int) -> tuple:
        images, labels = digits.read(split, start, stop)
        pixels = (images[:, None].astype(np.float32) / 255 - digits.mean) / digits.std
        return torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64))

    images, labels = load("train", 0, digits.length("train") - held)
    torch.manual_seed(config.seed)
    module = build("NCHW")
    torch.manual_seed(config.seed)
    for parameter in module.parameters():
        with torch.no_grad():
            parameter.zero_() if parameter.dim() == 1 else torch.nn.init.kaiming_normal_(parameter)
    weights = [parameter for parameter in module.parameters() if parameter.dim() > 1]
    biases = [parameter for parameter in module.parameters() if parameter.dim() == 1]
    groups = [{"params": weights, "weight_decay": config.weight_decay}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, config.lr, momentum=config.momentum, nesterov=True, fused=True)
    net = DistributedDataParallel(module, gradient_as_bucket_view=True)
    steps = -(-len(images) // config.batch_size)
    schedule = build_schedule(config, config.epochs * steps)
    started = perf_counter()
    for epoch in range(config.epochs):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(config.seed * 1000 + epoch))
        for step in range(steps):
            batch = order[step * config.batch_size : (step + 1) * config.batch_size][rank::size]
            optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = schedule(epoch * steps + step)
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(net(images[batch]), labels[batch]).backward()
            if config.clip:
                torch.nn.utils.clip_grad_norm_(net.parameters(), config.clip)
            optimizer.step()
    seconds = perf_counter() - started
    with torch.inference_mode():
        tests, answers = load("test", 0, digits.length("test"))
        accuracy = (module(tests).argmax(1) == answers).float().mean().item()
    if os.environ["RANK"] == "0":
        print(json.dumps({"accuracy": accuracy, "seconds": seconds}), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
