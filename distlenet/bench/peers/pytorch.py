"""PyTorch: eager and compiled, in two layouts; on several cores as threads of one process and as DDP over gloo."""

import os
import socket
from datetime import timedelta
from typing import Any, ClassVar

from distlenet.bench.peers.peer import CONVOLUTIONS, DENSE, LR, MOMENTUM, WEIGHT_DECAY, Peer, Work

NEEDS = ("torch",)
INSTALL = "pip install torch: take PyTorch's CPU build, the plain one downloads gigabytes of CUDA"


def lenet5(activation: str = "ReLU", pooling: str = "AvgPool2d") -> Any:
    """Return LeNet-5 as a torch module, with these classes of torch.nn."""
    from torch import nn

    squash, pool = getattr(nn, activation), getattr(nn, pooling)
    layers: list[Any] = []
    for out, channels, border in CONVOLUTIONS:
        layers += [nn.Conv2d(channels, out, 5, padding=border), squash(), pool(2)]
    layers.append(nn.Flatten())
    for out, inputs in DENSE:
        layers += [nn.Linear(inputs, out), squash()]
    return nn.Sequential(*layers[:-1])


def join(ranks: int) -> int:
    """Make this process rank 0 of ``ranks`` over gloo, fork the others, and return the rank. Call it before torch."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    rank = next((rank for rank in range(1, ranks) if not os.fork()), 0)
    import torch.distributed as dist

    # a rank that waits for its turn must not give up
    dist.init_process_group("gloo", address, timedelta(days=1), world_size=ranks, rank=rank)
    return rank


class Eager(Peer):
    """Plain calls."""

    name = "PyTorch, NCHW"
    kinds: ClassVar[tuple[str, ...]] = ("train", "infer")
    layout = "contiguous_format"
    compiled = False

    def __init__(self, work: Work) -> None:
        import torch
        from torch.nn.functional import cross_entropy

        torch.set_num_threads(len(work.cores))
        torch.manual_seed(1)
        self.version = f"{torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"
        layout = getattr(torch, self.layout)
        images = torch.from_numpy(work.images())[:, None].contiguous(memory_format=layout)
        labels = torch.from_numpy(work.labels())
        module = self.wrap(lenet5().to(memory_format=layout))
        optimizer = torch.optim.SGD(
            module.parameters(), LR, MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY, fused=True
        )

        def loss() -> Any:
            return cross_entropy(module(images), labels)

        forward = module
        if self.compiled:
            loss, forward = (torch.compile(call, dynamic=False) for call in (loss, module))

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss().backward()
            optimizer.step()

        def infer() -> None:
            with torch.inference_mode():
                forward(images)

        self.tasks = {"train": step, "ranks": step, "portable": step, "infer": infer}

    def wrap(self, module: Any) -> Any:
        """Return the module that is trained."""
        return module


class ChannelsLast(Eager):
    """The layout NHWC."""

    name = "PyTorch, channels_last"
    layout = "channels_last"


class Compiled(Eager):
    """torch.compile of network and loss; it needs a C++ compiler."""

    name = "PyTorch, compiled"
    compiled = True


class CompiledChannelsLast(Compiled):
    """The same, with the layout NHWC."""

    name = "PyTorch, compiled, channels_last"
    layout = "channels_last"


class Deterministic(ChannelsLast):
    """The same bits each time, on machines that are alike; ours in portable arithmetic are the same on all."""

    name = "PyTorch, deterministic"
    kinds = ("portable",)

    def __init__(self, work: Work) -> None:
        import torch

        torch.use_deterministic_algorithms(True)
        super().__init__(work)


class Threads(Eager):
    """Several threads of one process."""

    name = "PyTorch, threads"
    kinds = ("ranks",)


class ThreadsChannelsLast(Threads):
    """The same, with the layout NHWC."""

    name = "PyTorch, threads, channels_last"
    layout = "channels_last"


class ThreadsCompiled(ThreadsChannelsLast):
    """The same, compiled."""

    name = "PyTorch, threads, compiled"
    compiled = True


class Distributed(Eager):
    """DistributedDataParallel over gloo: a process for each core, all of one batch."""

    name = "PyTorch, DDP gloo"
    kinds = ("ranks",)

    def __init__(self, work: Work) -> None:
        rank = join(len(work.cores))
        os.sched_setaffinity(0, {work.cores[rank]})
        super().__init__(Work(work.batch_size // len(work.cores), work.shards, work.cores[rank : rank + 1]))
        while rank:  # the others step whenever rank 0 does: its gradients are the clock
            self.tasks["ranks"]()

    def wrap(self, module: Any) -> Any:
        """Let the backward pass average the gradients of all ranks."""
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(module, gradient_as_bucket_view=True)


class DistributedChannelsLast(Distributed):
    """The same, with the layout NHWC."""

    name = "PyTorch, DDP gloo, channels_last"
    layout = "channels_last"


PEERS = (
    *(Eager, ChannelsLast, Compiled, CompiledChannelsLast, Deterministic),
    *(Threads, ThreadsChannelsLast, ThreadsCompiled, Distributed, DistributedChannelsLast),
)
