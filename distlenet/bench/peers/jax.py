"""JAX, in two layouts."""

from typing import Any

from distlenet.bench.peers.peer import CONVOLUTIONS, DENSE, LR, MOMENTUM, WEIGHT_DECAY, Peer, Work

NEEDS = ("jax",)
INSTALL = "pip install jax"


class NHWC(Peer):
    """One core, channels last."""

    name = "JAX, NHWC"
    kinds = ("train", "infer")
    layout, kernels, window = "NHWC", "HWIO", (1, 2, 2, 1)

    def __init__(self, work: Work) -> None:
        import jax
        from jax import lax, nn
        from jax import numpy as jnp

        jax.config.update("jax_platforms", "cpu")
        self.version = jax.__version__
        channel = self.layout.index("C")
        images, labels = jnp.expand_dims(work.images(), channel), jnp.asarray(work.labels())
        keys = iter(jax.random.split(jax.random.key(1), 5))
        sizes = {"H": 5, "W": 5}
        shapes = [tuple((sizes | {"O": out, "I": n})[axis] for axis in self.kernels) for out, n, _ in CONVOLUTIONS]
        weights = [0.1 * jax.random.normal(next(keys), shape) for shape in (*shapes, *((n, out) for out, n in DENSE))]
        biases = [jnp.zeros(out) for out, *_ in (*CONVOLUTIONS, *DENSE)]

        def logits(parameters: Any, x: Any) -> Any:
            pairs = list(zip(*parameters, strict=True))
            for (kernel, bias), (_, _, border) in zip(pairs, CONVOLUTIONS, strict=False):
                x = lax.conv_general_dilated(
                    x,
                    kernel,
                    (1, 1),
                    [(border, border)] * 2,
                    dimension_numbers=(self.layout, self.kernels, self.layout),
                )
                x = nn.relu(x + jnp.expand_dims(bias, range(1, 4 - channel)))
                x = lax.reduce_window(x, 0.0, lax.add, self.window, self.window, "VALID") / 4
            x = x.reshape(len(x), -1)
            for weight, bias in pairs[len(CONVOLUTIONS) : -1]:
                x = nn.relu(x @ weight + bias)
            weight, bias = pairs[-1]
            return x @ weight + bias

        def loss(parameters: Any, x: Any, y: Any) -> Any:
            return -jnp.take_along_axis(nn.log_softmax(logits(parameters, x)), y[:, None], 1).mean()

        def update(parameters: Any, velocities: Any, x: Any, y: Any) -> Any:
            gradients = jax.grad(loss)(parameters, x, y)
            gradients = jax.tree.map(lambda g, p: g + WEIGHT_DECAY * p, gradients, parameters)
            velocities = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocities, gradients)
            step = jax.tree.map(lambda v, g: g + MOMENTUM * v, velocities, gradients)
            return jax.tree.map(lambda p, s: p - LR * s, parameters, step), velocities

        training, inference = jax.jit(update, donate_argnums=(0, 1)), jax.jit(logits)
        fixed = (weights, biases)
        self.state = jax.tree.map(jnp.copy, fixed), jax.tree.map(jnp.zeros_like, fixed)

        def train() -> None:
            self.state = training(*self.state, images, labels)
            jax.block_until_ready(self.state)

        self.tasks = {"train": train, "infer": lambda: jax.block_until_ready(inference(fixed, images))}


class NCHW(NHWC):
    """The same, channels first."""

    name = "JAX, NCHW"
    layout, kernels, window = "NCHW", "OIHW", (1, 1, 2, 2)


PEERS = (NHWC, NCHW)
