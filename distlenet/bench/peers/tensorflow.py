"""TensorFlow: graph and XLA."""

import os
from typing import Any, ClassVar

from distlenet.bench.peers.peer import CONVOLUTIONS, DENSE, LR, MOMENTUM, WEIGHT_DECAY, Peer, Work

NEEDS = ("tensorflow",)
INSTALL = "pip install tensorflow-cpu"


class Graph(Peer):
    """One core, tf.function."""

    name = "TensorFlow, graph"
    kinds: ClassVar[tuple[str, ...]] = ("train", "infer")
    xla = False

    def __init__(self, work: Work) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(len(work.cores))
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self.version = tf.__version__
        images, labels = tf.constant(work.images()[..., None]), tf.constant(work.labels())
        shapes = [(5, 5, channels, out) for out, channels, _ in CONVOLUTIONS] + [(n, out) for out, n in DENSE]
        parameters = [tf.Variable(tf.random.normal(shape, 0, 0.1)) for shape in shapes]
        parameters += [tf.Variable(tf.zeros(shape[-1])) for shape in shapes]
        velocities = [tf.Variable(tf.zeros_like(parameter)) for parameter in parameters]

        def logits() -> Any:
            x, pairs = images, list(zip(parameters[: len(shapes)], parameters[len(shapes) :], strict=True))
            for (kernel, bias), (_, _, border) in zip(pairs, CONVOLUTIONS, strict=False):
                x = tf.nn.conv2d(x, kernel, 1, "SAME" if border else "VALID")
                x = tf.nn.avg_pool2d(tf.nn.relu(tf.nn.bias_add(x, bias)), 2, 2, "VALID")
            x = tf.reshape(x, (len(images), -1))
            for weights, bias in pairs[len(CONVOLUTIONS) : -1]:
                x = tf.nn.relu(tf.nn.bias_add(x @ weights, bias))
            weights, bias = pairs[-1]
            return tf.nn.bias_add(x @ weights, bias)

        def train() -> Any:
            with tf.GradientTape() as tape:
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits())
                loss = tf.reduce_mean(losses)
            for parameter, velocity, gradient in zip(
                parameters, velocities, tape.gradient(loss, parameters), strict=True
            ):
                tf.raw_ops.ResourceApplyMomentum(
                    var=parameter.handle,
                    accum=velocity.handle,
                    lr=LR,
                    grad=gradient + WEIGHT_DECAY * parameter,
                    momentum=MOMENTUM,
                    use_nesterov=True,
                )
            return loss

        one, other = (tf.function(work, jit_compile=self.xla) for work in (train, logits))
        self.tasks = {"train": lambda: one().numpy(), "infer": lambda: other().numpy()}
        self.tasks["ranks"] = self.tasks["train"]


class XLA(Graph):
    """The same, compiled by XLA."""

    name = "TensorFlow, XLA"
    xla = True


class Threads(Graph):
    """Several threads of one process."""

    name = "TensorFlow, graph, threads"
    kinds = ("ranks",)


PEERS = (Graph, XLA, Threads)
