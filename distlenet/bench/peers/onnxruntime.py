"""ONNX Runtime."""

from collections.abc import Callable
from typing import Any

import numpy as np

from distlenet.bench.peers.peer import CONVOLUTIONS, DENSE, Peer, Work, in_pieces

NEEDS = ("onnxruntime", "onnx")
INSTALL = "pip install onnxruntime onnx"


def model() -> bytes:
    """Return LeNet-5 with random weights as an ONNX file: images (N, 1, 28, 28) to logits (N, 10), float32."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.Generator(np.random.Philox(3))
    nodes: list[Any] = []
    constants: list[Any] = []
    value = "images"

    def add(kind: str, shape: tuple[int, ...] = (), **attributes: Any) -> None:
        nonlocal value
        inputs, value = [value], f"{kind}{len(nodes)}"
        for size in (shape, shape[:1]) if shape else ():
            inputs.append(f"{value}.{len(size)}")
            constants.append(numpy_helper.from_array(0.1 * random.standard_normal(size, np.float32), inputs[-1]))
        nodes.append(helper.make_node(kind, inputs, [value], **attributes))

    for out, channels, border in CONVOLUTIONS:
        add("Conv", (out, channels, 5, 5), pads=[border] * 4)
        add("Relu")
        add("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    add("Flatten")
    for shape in DENSE[:-1]:
        add("Gemm", shape, transB=1)
        add("Relu")
    add("Gemm", DENSE[-1], transB=1)
    ends: tuple[tuple[str, list[Any]], ...] = (("images", ["N", 1, 28, 28]), (value, ["N", 10]))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends]
    graph = helper.make_graph(nodes, "lenet5", values[:1], values[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


class OnnxRuntime(Peer):
    """One core, all optimisations of the graph."""

    name = "ONNX Runtime"
    kinds = ("infer",)

    def __init__(self, work: Work) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(model(), options, providers=["CPUExecutionProvider"])
        self.version = onnxruntime.__version__
        images = np.ascontiguousarray(work.images()[:, None])

        def inference(count: int) -> Callable[[], object]:
            return lambda: session.run(None, {"images": images[:count]})

        self.tasks = {"infer": in_pieces(work.batch_size, inference)}


PEERS = (OnnxRuntime,)
