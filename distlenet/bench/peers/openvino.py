"""OpenVINO."""

from collections.abc import Callable
from typing import Any

import numpy as np

from distlenet.bench.peers.peer import CONVOLUTIONS, DENSE, Peer, Work, in_pieces

NEEDS = ("openvino",)
INSTALL = "pip install openvino"


def model(batch_size: int) -> Any:
    """Return LeNet-5 with random weights as an OpenVINO model: images (N, 1, 28, 28) to logits (N, 10), float32."""
    import openvino
    from openvino import opset13 as ops

    random = np.random.Generator(np.random.Philox(3))

    def weights(*shape: int) -> np.ndarray:
        return 0.1 * random.standard_normal(shape, np.float32)

    images = x = ops.parameter([batch_size, 1, 28, 28], np.float32)
    for out, channels, border in CONVOLUTIONS:
        x = ops.convolution(x, weights(out, channels, 5, 5), [1, 1], [border] * 2, [border] * 2, [1, 1])
        x = ops.relu(ops.add(x, weights(1, out, 1, 1)))
        x = ops.avg_pool(x, [2, 2], [0, 0], [0, 0], [2, 2], exclude_pad=False)
    x = ops.reshape(x, np.array([batch_size, -1]), special_zero=False)
    for place, (out, inputs) in enumerate(DENSE, 1):
        x = ops.add(ops.matmul(x, weights(out, inputs), transpose_a=False, transpose_b=True), weights(1, out))
        x = x if place == len(DENSE) else ops.relu(x)
    return openvino.Model([x], [images], "lenet5")


class OpenVINO(Peer):
    """One core, float32 like the others, although some CPUs could do with bfloat16."""

    name = "OpenVINO"
    kinds = ("infer",)

    def __init__(self, work: Work) -> None:
        import openvino
        from openvino import properties

        settings = {
            properties.inference_num_threads: 1,
            properties.num_streams: 1,
            properties.hint.inference_precision: openvino.Type.f32,
            properties.hint.enable_cpu_pinning: False,
        }
        core, images = openvino.Core(), np.ascontiguousarray(work.images()[:, None])

        def inference(count: int) -> Callable[[], object]:
            request = core.compile_model(model(count), "CPU", settings).create_infer_request()
            request.set_input_tensor(openvino.Tensor(images[:count], shared_memory=True))
            return request.infer

        self.images = images  # the tensors share its memory
        self.version = openvino.__version__.split("-")[0]
        self.tasks = {"infer": in_pieces(work.batch_size, inference)}


PEERS = (OpenVINO,)
