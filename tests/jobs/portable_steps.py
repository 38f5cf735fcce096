"""Train small networks of all kinds for a few steps in portable arithmetic; print a hash of each one's parameters.

The numbers that it starts from are raw words of Philox. The same lines must come out on every machine.
"""

import hashlib

import numpy as np

from distlenet.arithmetic import PORTABLE
from distlenet.config import Config
from distlenet.nn import MODELS, Net, build_net, build_optimizer, build_schedule
from distlenet.nn.models import ACTIVATIONS, POOLINGS
from distlenet.nn.optimizers import OPTIMIZERS
from distlenet.nn.schedules import SCHEDULES

STEPS, IMAGES, SIDE = 4, 6, 16


def numbers(key: int, *shape: int) -> np.ndarray:
    """Return ``shape`` float32 numbers within [-1, 1)."""
    words = np.random.Philox(key=key).random_raw(int(np.prod(shape))) >> np.uint64(40)
    return (words.astype(np.float32) / np.float32(2**23) - 1).reshape(shape)


def hash_of(*arrays: np.ndarray) -> str:
    """Return the first digits of the SHA-256 of ``arrays``."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]


def train(net: Net, config: Config) -> np.ndarray:
    """Take STEPS steps; return the losses of each image after them."""
    optimizer, schedule = build_optimizer(config, net.decays), build_schedule(config, STEPS)
    net.theta[:] = numbers(1, net.size) * np.float32(0.2)
    labels, side = np.arange(IMAGES) % 10, net.input_shape[1]
    gradient = np.empty_like(net.theta)
    for step in range(STEPS):
        x = numbers(2 + step, 1, side, side, IMAGES)
        if "curvature" in optimizer.state:
            net.curvature(x, optimizer.state["curvature"])
        net.loss_and_grad(x, labels, gradient)
        optimizer.step(net.theta, gradient, schedule(step))
    return net.loss.losses(net.forward(numbers(9, 1, side, side, IMAGES)), labels)


for index, activation in enumerate(ACTIVATIONS):
    for pooling in POOLINGS:
        names = {"activation": activation, "pooling": pooling, "optimizer": list(OPTIMIZERS)[index]}
        settings = Config(**names, numerics="portable", clip=0.1, schedule=list(SCHEDULES)[index], average=0.9)
        network = build_net(settings, (1, SIDE, SIDE), 10)
        losses = train(network, settings)
        print(*names.values(), hash_of(network.theta, losses, PORTABLE.widen(losses)))
for model in MODELS:
    settings = Config(model=model, numerics="portable", optimizer="levenberg-marquardt" if "1998" in model else "adam")
    network = build_net(settings, (1, 28, 28), 10)
    print(model, hash_of(train(network, settings), network.theta))
