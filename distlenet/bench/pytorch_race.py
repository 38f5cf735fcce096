"""A recipe in PyTorch: ``python -m distlenet.bench.pytorch_race DATA RECIPE SEED PROCESSES THREADS`` prints JSON.

The same network, law of the initial weights, batch, optimizer, schedule, clip, weight decay and average. Several
processes are ranks of DistributedDataParallel over gloo. The figures are the test accuracy and the seconds of training.
"""

import json
import os
import sys
from dataclasses import fields
from time import perf_counter
from typing import Any

from distlenet.bench.peers.pytorch import join, lenet5
from distlenet.config import Config
from distlenet.data.file.dataset_file import open_digit_file
from distlenet.nn import build_schedule
from distlenet.nn.optimizers import POLAR
from distlenet.recipes import build_config

ACTIVATIONS = {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid", "leaky-relu": "LeakyReLU", "elu": "ELU"}
POOLINGS = {"average": "AvgPool2d", "max": "MaxPool2d"}
INITIAL = {"he": "kaiming_normal_", "glorot": "xavier_uniform_"}
SUPPORTED = {  # settings that this file follows, and their values that it can follow (None: all)
    **dict.fromkeys(
        ("epochs", "batch_size", "seed", "validation", "lr", "weight_decay", "clip", "average", "label_smoothing")
    ),
    **dict.fromkeys(("warmup", "decay", "momentum", "beta1", "beta2", "epsilon")),
    **{"activation": ACTIVATIONS, "pooling": POOLINGS, "init": INITIAL},
    "optimizer": ("sgd", "momentum", "nesterov", "adam", "muon"),
    "schedule": ("constant", "step", "inverse-time", "cosine", "one-cycle", "published"),
}
NEUTRAL = {  # settings that do not concern it, or only if they have another value than this
    **dict.fromkeys(("shards", "train_sample", "test_curve", "memory_limit", "on_divergence", "max_heals")),
    **{"rotate": 0.0, "shift": 0.0, "zoom": 0.0},
}


def lacking(config: Config) -> list[str]:
    """Return the settings of ``config`` that this file cannot follow, as "rotate 12.0"."""
    found = []
    for item in fields(config):
        value = getattr(config, item.name)
        if item.name in SUPPORTED:
            values = SUPPORTED[item.name]
            fits = values is None or value in values
        else:
            expected = NEUTRAL.get(item.name, item.default)
            fits = expected is None or value == expected
        if not fits:
            found.append(f"{item.name} {value}")
    return found


def optimizer_of(config: Config, module: Any) -> Any:
    """Return the optimizer of ``config``; biases do not decay."""
    import torch

    weights = [parameter for parameter in module.parameters() if parameter.dim() > 1]
    biases = [parameter for parameter in module.parameters() if parameter.dim() == 1]
    groups = [{"params": weights, "weight_decay": config.weight_decay}, {"params": biases, "weight_decay": 0.0}]
    if config.optimizer == "adam":
        return torch.optim.AdamW(groups, config.lr, (config.beta1, config.beta2), config.epsilon, fused=True)
    if config.optimizer == "muon":
        return muon(groups, config)
    momentum = 0.0 if config.optimizer == "sgd" else config.momentum
    return torch.optim.SGD(groups, config.lr, momentum, nesterov=config.optimizer == "nesterov", fused=True)


def muon(groups: list[dict[str, Any]], config: Config) -> Any:
    """Return an optimizer that makes the steps of ``Muon`` in ``nn/optimizers.py``."""
    import torch

    def orthogonal(matrix: Any) -> Any:
        wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        x = wide / (wide.norm() + 1e-7)
        for a, b, c in POLAR:
            square = x @ x.T
            x = a * x + (b * square + c * square @ square) @ x
        return x if wide is matrix else x.T

    class Muon(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self) -> None:
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    velocity = self.state[parameter].setdefault("velocity", torch.zeros_like(parameter))
                    velocity.mul_(config.momentum).add_(parameter.grad)
                    update = parameter.grad.add(velocity, alpha=config.momentum)
                    if parameter.dim() > 1:
                        matrix = update.flatten(1)
                        outputs, inputs = matrix.shape
                        update = max(1.0, outputs / inputs) ** 0.5 * orthogonal(matrix).reshape(parameter.shape)
                    parameter.sub_(update, alpha=group["lr"])

    return Muon(groups, {"lr": config.lr})


def main() -> None:
    """Train, evaluate on the test images, print."""
    data, recipe, (seed, processes, threads) = *sys.argv[1:3], map(int, sys.argv[3:6])
    config, rank = build_config(recipe, None, {"seed": seed}), join(processes) if processes > 1 else 0
    import torch
    from torch.nn.functional import cross_entropy
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(threads)
    digits = open_digit_file(data)
    images, labels = (torch.from_numpy(array) for array in digits.read("train", 0, training_images(digits, config)))
    labels, offset, scale = labels.long(), 255 * digits.mean, 1 / (255 * digits.std)

    def normalised(pixels: Any) -> Any:
        return pixels[:, None].float().sub_(offset).mul_(scale)

    torch.manual_seed(config.seed)
    module = lenet5(ACTIVATIONS[config.activation], POOLINGS[config.pooling]).to(memory_format=torch.channels_last)
    for parameter in module.parameters():
        with torch.no_grad():
            parameter.zero_() if parameter.dim() == 1 else getattr(torch.nn.init, INITIAL[config.init])(parameter)
    optimizer = optimizer_of(config, module)
    averaged = torch.optim.swa_utils.AveragedModel(module, avg_fn=average(config.average)) if config.average else None
    net = DistributedDataParallel(module, gradient_as_bucket_view=True) if processes > 1 else module
    steps = -(-len(images) // config.batch_size)
    schedule = build_schedule(config, config.epochs * steps)
    started = perf_counter()
    for epoch in range(config.epochs):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(config.seed * 1000 + epoch))
        for step in range(steps):
            batch = order[step * config.batch_size : (step + 1) * config.batch_size][rank::processes]
            for group in optimizer.param_groups:
                group["lr"] = schedule(epoch * steps + step)
            optimizer.zero_grad(set_to_none=True)
            logits = net(normalised(images[batch]))
            cross_entropy(logits, labels[batch], label_smoothing=config.label_smoothing).backward()
            if config.clip:
                torch.nn.utils.clip_grad_norm_(net.parameters(), config.clip)
            optimizer.step()
            if averaged:
                averaged.update_parameters(module)
    seconds = perf_counter() - started
    with torch.inference_mode():
        tests, answers = (
            torch.from_numpy(array)[rank::processes] for array in digits.read("test", 0, digits.length("test"))
        )
        right = ((averaged or module)(normalised(tests)).argmax(1) == answers).sum()
        if processes > 1:
            torch.distributed.all_reduce(right)
    if not rank:
        print(json.dumps({"accuracy": right.item() / digits.length("test"), "seconds": seconds}), flush=True)
    if processes > 1:
        torch.distributed.destroy_process_group()
    if rank:
        os._exit(0)


def training_images(digits: Any, config: Config) -> int:
    """Return how many images are trained on: the others are held back, as this trainer holds them back."""
    total = digits.length("train")
    return total - (total // 12 if config.validation < 0 else config.validation)


def average(decay: float) -> Any:
    """Return the rule of ``nn/optimizers.py`` for the average of the parameters."""
    return lambda mean, new, count: mean + (new - mean) * (1 - min(decay, 1 - 1 / (int(count) + 1)))


if __name__ == "__main__":
    main()
