"""All of data-parallel training on one page: LeNet-5, on any number of MPI ranks, with the same bits on every machine.

    mpirun -n 2 python scripts/one_page.py datasets/mnist.h5

It imports nothing of distlenet, but follows distlenet/arithmetic/README.md, and so ends with the theta_sha256 of
``distlenet train --numerics portable --recipe fast --epochs 1``. The options below are those of distlenet train.
"""

import hashlib
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from math import ceil, factorial, frexp, pi, prod, sqrt

import h5py
import numpy as np
from mpi4py import MPI

# fmt: off
Array, f32 = np.ndarray, np.float32
Layer = tuple[Array, Callable[[Array], list[Array]]]  # the output, and how gradients go back
SETTINGS = {"epochs": 1, "batch_size": 256, "shards": 8, "seed": 1, "validation": -1, "rotate": 0.0, "shift": 0.0,
            "zoom": 0.0, "lr": 0.14, "warmup": 0.15, "momentum": 0.9, "weight_decay": 1e-4, "clip": 1.0}
KERNELS = [(6, 1, 5, 5), (16, 6, 5, 5), (120, 16, 5, 5), (84, 120, 1, 1), (10, 84, 1, 1)]  # to, from, rows, columns
INITIAL, ORDER, AUGMENTATION = 0, 1, 2  # what random numbers are drawn for
INV_LOG2, LOG2, LOG2_REST = map(float.fromhex, ("0x1.71547652b82fep+0", "0x1.62e42feep-1", "0x1.a39ef35793c76p-33"))
QUARTER, REST, LAST = map(float.fromhex, ("0x1.921fb544p+0", "0x1.0b4611a6p-34", "0x1.3198a2e037073p-69"))  # pi / 2

# -- Functions. Libraries disagree in the last bit of exp(x). + - * / and sqrt are the same everywhere, so we use these.
def exp(x: Array) -> Array:
    """Return e^x as 2^k * e^r, |r| at most half of log 2."""
    k = np.rint(x * INV_LOG2)
    r = (x - k * LOG2) - k * LOG2_REST
    return np.ldexp(1 + r * np.polyval([1 / factorial(n) for n in range(13, 0, -1)], r), k.astype(int))

def log(x: Array) -> Array:
    """Return the logarithm of x = m * 2^e, with m near 1."""
    m, e = np.frexp(x)
    m, e = np.where(m < sqrt(0.5), 2 * m, m), e - (m < sqrt(0.5))
    s = (m - 1) / (m + 1)
    series = np.polyval([1 / n for n in range(21, 1, -2)], s * s)
    return e * LOG2 + (e * LOG2_REST + (2 * s + 2 * s * (s * s * series)))

def cos_sin(x: Array) -> Array:
    """Return the cosine and the sine of x = k quarters of a turn, and a rest r."""
    k = np.rint(abs(x) / QUARTER)
    r = ((abs(x) - k * QUARTER) - k * REST) - k * LAST
    cos = np.polyval([(-1) ** (n // 2) / factorial(n) for n in range(16, -1, -2)], r * r)
    sin = r * np.polyval([(-1) ** (n // 2) / factorial(n) for n in range(15, 0, -2)], r * r)
    k = k.astype(int) % 4
    return np.array([np.choose(k, [cos, -sin, -cos, sin]), np.choose(k, [sin, cos, -sin, -cos]) * np.sign(x)])

# -- Random numbers depend on seed, purpose and position alone: no rank needs to know what another has drawn.
def stream(seed: int, purpose: int, *position: int) -> Callable[[int], Array]:
    """Return a function that returns the next n random words of 64 bits."""
    return np.random.Philox(key=[seed, purpose], counter=[0, *position, 0, 0][:4]).random_raw

def uniform(words: Array) -> Array:
    """Return numbers from 0 to 1."""
    return (words >> np.uint64(11)) * 2.0**-53

def normal(words: Array) -> Array:
    """Return normal numbers, two from two words (Box and Muller 1958)."""
    v, w = words.reshape(-1, 2).T
    radius = np.sqrt(-2 * log(((v >> np.uint64(12)) + 0.5) * 2.0**-52))
    return (radius * cos_sin(2 * pi * uniform(w))).T.ravel()

def shuffled_rows(n: int, words: Callable[[int], Array]) -> Array:
    """Return the rows of a shard of n images in random order: blocks are shuffled, then the rows of each block."""
    blocks = [np.arange(first, min(first + 8192, n)) for first in range(0, n, 8192)]
    order = np.argsort(words(len(blocks)), kind="stable")
    return np.concatenate([blocks[b][np.argsort(words(len(blocks[b])), kind="stable")] for b in order])

def augment(images: Array, moves: Array, rotate: float, shift: float, zoom: float) -> Array:
    """Turn, shift and zoom each image by a map of its own, and interpolate between the four nearest pixels."""
    (_, rows, columns), (turn, down, right, larger) = images.shape, moves.T
    a, b = 1 / (1 + zoom * larger) * cos_sin(rotate * (pi / 180) * turn)
    d, e = 1 + (rows - 1) / 2 - shift * down, 1 + (columns - 1) / 2 - shift * right
    i, j = f32(np.arange(rows) - (rows - 1) / 2)[:, None], f32(np.arange(columns) - (columns - 1) / 2)
    y, x = ((i * m[0] + j * m[1]) + m[2] for m in f32([[a, b, d], [-b, a, e]])[..., None, None])
    y, x = np.clip(y, 0, rows + 1.5), np.clip(x, 0, columns + 1.5)  # far outside, all is background
    top, left, image = y.astype(int), x.astype(int), np.arange(len(images))[:, None, None]
    y, x, bordered = y - f32(top), x - f32(left), f32(np.pad(images, ((0, 0), (1, 2), (1, 2))))
    (p00, p01), (p10, p11) = [[bordered[image, top + v, left + h] for h in (0, 1)] for v in (0, 1)]
    above, below = p00 + (p01 - p00) * x, p10 + (p11 - p10) * x
    return above + (below - above) * y

# -- Products. Factors are rounded to a grid so coarse that float64 adds their products exactly, in whatever order.
def factor(a: Array) -> Array:
    """Round the numbers of a tensor to 19 bits below the power of two above the largest."""
    c = 1.5 * 2.0 ** (frexp(abs(a).max())[1] + 33)
    return (a.astype(float) + c) - c

def product(a: Array, b: Array, cut: int = 2**15) -> Array:
    """Return a @ b, rounded once. A sum of more than ``cut`` terms may be inexact, so its parts are added in order."""
    return f32(sum(a[:, k : k + cut] @ b[k : k + cut] for k in range(0, len(b), cut))) + 0  # + 0: -0 becomes 0

# -- Layers return their output, and a function from its gradient to those of the layer's input, weights and biases.
def convolution(x: Array, weights: Array, biases: Array) -> Layer:
    """Multiply each window of x (n, channels, rows, columns) by the kernels; a window of full size is a dense layer."""
    windows = np.lib.stride_tricks.sliding_window_view(factor(x), weights.shape[2:], axis=(2, 3))
    windows = windows.transpose(0, 2, 3, 1, 4, 5)  # n, rows, columns, channels, kernel rows, kernel columns
    n, rows, columns = windows.shape[:3]
    patches, kernels = windows.reshape(n * rows * columns, -1), factor(weights).reshape(len(weights), -1)  # im2col
    def backward(dy: Array) -> list[Array]:
        d = factor(dy).transpose(0, 2, 3, 1).reshape(len(patches), -1)
        dweights = product(d.T, patches, cut=2**15 // (rows * columns) * (rows * columns))  # cut between images
        dx, dwindows = np.zeros(x.shape), (d @ kernels).reshape(windows.shape)
        for i, j in np.ndindex(weights.shape[2:]):  # the gradient of a pixel is the sum of those in its windows
            dx[:, :, i : i + rows, j : j + columns] += dwindows[..., i, j].transpose(0, 3, 1, 2)
        return [f32(dx) + 0, dweights, f32(d.sum(axis=0))]
    return (product(patches, kernels.T) + biases).reshape(n, rows, columns, -1).transpose(0, 3, 1, 2), backward

def relu(x: Array) -> Layer:
    """Replace negative numbers by 0."""
    return np.maximum(x, 0), lambda dy: [np.where(x > 0, dy, f32(0))]

def pooling(x: Array) -> Layer:
    """Return the mean of each 2 x 2 window."""
    rows = x[:, :, 0::2] + x[:, :, 1::2]
    return (rows[..., 0::2] + rows[..., 1::2]) * f32(0.25), lambda dy: [(dy * f32(0.25)).repeat(2, 2).repeat(2, 3)]

LENET5 = [convolution, relu, pooling, convolution, relu, pooling, convolution, relu, convolution, relu, convolution]

def leaf(theta: Array, x: Array, labels: Array) -> Array:
    """Return what one shard adds to a step: gradient of theta, loss, correct images, images; each a sum over images."""
    if len(x) == 0:  # the shard has no images left
        return np.zeros(len(theta) + 3, f32)
    start, backwards, gradients, kernels = 0, [], [], iter(KERNELS)
    for layer in LENET5:
        shapes = [kernel := next(kernels), kernel[:1]] if layer is convolution else []
        x, backward = layer(x, *(theta[start : (start := start + prod(shape))].reshape(shape) for shape in shapes))
        backwards.append(backward)
    z = x[:, :, 0, 0].astype(float) - x[:, :, 0, 0].max(axis=1, keepdims=True)
    total = np.cumsum(e := exp(z), axis=1)[:, -1:]  # the order of cumsum is defined, that of sum is not
    loss, correct = np.cumsum(log(total[:, 0]) - z[np.arange(len(x)), labels])[-1], (z.argmax(axis=1) == labels).sum()
    dx = f32(e / total - np.eye(10)[labels])[:, :, None, None]
    for backward in reversed(backwards):
        dx, *of_layer = backward(dx)
        gradients = [*(each.ravel() for each in of_layer), *gradients]
    return np.concatenate([*gradients, f32([loss, correct, len(x)])])

# -- Training. Every rank holds the same theta, computes the leaves of its shards, and makes the same update.
def initial_theta(seed: int) -> Array:
    """Draw weights of variance 2 / fan-in (He et al. 2015), and set biases to 0."""
    theta = []
    for number, kernel in enumerate(KERNELS):
        weights = sqrt(2 / prod(kernel[1:])) * normal(stream(seed, INITIAL, 2 * number)(prod(kernel)))
        theta += [f32(weights), np.zeros(kernel[0], f32)]
    return np.concatenate(theta)

def sum_tree(vectors: list[Array]) -> Array:
    """Add neighbours, then neighbouring sums, and so on: an order that does not depend on the number of ranks."""
    while len(vectors) > 1:
        vectors = [sum(vectors[first : first + 2]) for first in range(0, len(vectors), 2)]
    return vectors[0]

def update(theta: Array, velocity: Array, g: Array, lr: float, s: Namespace) -> tuple[Array, Array]:
    """Return theta and velocity after a step along the gradient g: clipped, with decay, by Nesterov's momentum."""
    norm = sqrt(np.cumsum(g.astype(float) ** 2)[-1])
    g = g * f32(s.clip / norm) if 0 < s.clip < norm else g
    is_weight = np.concatenate([np.repeat([True, False], [prod(kernel), kernel[0]]) for kernel in KERNELS])
    g = g + np.where(is_weight, f32(s.weight_decay), f32(0)) * theta
    velocity = velocity * s.momentum + g
    return theta - (g + velocity * s.momentum) * f32(lr), velocity

def train(s: Namespace, comm: MPI.Comm) -> Array:
    """Return theta after all steps."""
    mine = range(comm.rank * s.shards // comm.size, (comm.rank + 1) * s.shards // comm.size)  # the shards of this rank
    with h5py.File(s.data) as file:
        n = len(file["train/labels"])
        n -= n // 12 if s.validation < 0 else s.validation  # the last images are held back
        parts = {shard: slice(shard * n // s.shards, (shard + 1) * n // s.shards) for shard in mine}
        shards = {shard: (file["train/images"][part], file["train/labels"][part]) for shard, part in parts.items()}
        mean, std = file.attrs["pixel_mean"], file.attrs["pixel_std"]
    theta, velocity, size, steps = initial_theta(s.seed), f32(0), s.batch_size // s.shards, ceil(n / s.batch_size)
    last, warmup = s.epochs * steps, s.warmup * (s.epochs * steps)
    for now in range(last):
        epoch, step = divmod(now, steps)
        moves = 2 * uniform(stream(s.seed, AUGMENTATION, epoch, step)(4 * s.batch_size)).reshape(-1, 4) - 1
        leaves = []
        for shard, (images, labels) in shards.items():
            rows = shuffled_rows(len(images), stream(s.seed, ORDER, epoch, shard))[step * size :][:size]
            x = augment(images[rows], moves[shard * size :][: len(rows)], s.rotate, s.shift, s.zoom)
            x = np.pad(x * f32(1 / (255 * std)) - f32(mean / std), ((0, 0), (2, 2), (2, 2)))  # to 32 x 32 pixels
            leaves.append(leaf(theta, x[:, None], labels[rows]))
        total = sum_tree([vector for of_rank in comm.allgather(leaves) for vector in of_rank])  # the only communication
        rate = 0.04 + (1 - 0.04) * now / warmup if now < warmup else max(0, (last - now) / (last - warmup))
        theta, velocity = update(theta, velocity, total[:-3] / total[-1], s.lr * rate, s)
        if comm.rank == 0:
            print(f"step {now + 1}/{last}: loss {total[-3] / total[-1]:.4f}, {total[-2]:.0f} correct", flush=True)
    return theta

if __name__ == "__main__":
    parser = ArgumentParser(description="Train LeNet-5, and print the SHA-256 of its parameters.")
    parser.add_argument("data")
    for name, default in SETTINGS.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
    theta = train(parser.parse_args(), MPI.COMM_WORLD)
    if MPI.COMM_WORLD.rank == 0:
        print("theta_sha256", hashlib.sha256(theta.astype("<f4").tobytes()).hexdigest())
