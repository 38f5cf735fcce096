"""The network as an ONNX graph, from raw pixels to logits and probabilities.

The input ``pixels`` is (N, 1, rows, columns) float32, 0 for paper to 255 for ink: normalising is part of the
graph, so that nobody can forget it. The outputs ``logits`` and ``probabilities`` are (N, classes).
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distlenet.errors import ExportError
from distlenet.nn.activations import ReLU, Tanh
from distlenet.nn.convolution import Conv2d
from distlenet.nn.dense import Dense, Flatten
from distlenet.nn.layer import Layer
from distlenet.nn.pooling import AveragePool2d, MaxPool2d, Pool2d
from distlenet.training.checkpoint import Checkpoint

OPSET = 13
IR = 8  # the version of the file format that goes with it: old readers can read it

# ---- one converter for each type of layer: (ONNX operator, its attributes); parameters follow the input


def _convolution(layer: Conv2d) -> tuple[str, dict[str, Any]]:
    return "Conv", {"kernel_shape": [layer.kernel] * 2, "pads": [layer.border] * 4}


def _pooling(operator: str) -> Callable[[Pool2d], tuple[str, dict[str, Any]]]:
    return lambda layer: (operator, {"kernel_shape": [layer.window] * 2, "strides": [layer.stride] * 2})


CONVERTERS: dict[type[Layer], Callable[[Any], tuple[str, dict[str, Any]]]] = {
    Conv2d: _convolution,
    AveragePool2d: _pooling("AveragePool"),
    MaxPool2d: _pooling("MaxPool"),
    ReLU: lambda layer: ("Relu", {}),
    Tanh: lambda layer: ("Tanh", {}),
    Flatten: lambda layer: ("Flatten", {"axis": 1}),
    Dense: lambda layer: ("Gemm", {"transB": 1}),
}


def operators(layers: Sequence[Layer]) -> list[tuple[str, dict[str, Any]]]:
    """Return the ONNX operator of each layer; raises ExportError for a layer without one."""
    found = []
    for layer in layers:
        if type(layer) not in CONVERTERS:
            known = ", ".join(kind.__name__ for kind in CONVERTERS)
            raise ExportError(
                f"layer {layer.name} is a {type(layer).__name__}, which has no ONNX operator here: expected {known}; "
                "the parameters alone can be written as npz or safetensors"
            )
        found.append(CONVERTERS[type(layer)](layer))
    return found


def onnx_bytes(checkpoint: Checkpoint) -> bytes:
    """Return the ONNX file of ``checkpoint``'s network.

    Raises ExportError: a layer without an operator, or the library is missing.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise ExportError("writing ONNX needs its library: install distlenet[export]") from error
    net, facts = checkpoint.build_net(), checkpoint.dataset
    scale, offset = np.float32(1 / (255 * facts.std)), np.float32(facts.mean / facts.std)
    constants = {"scale": np.array(scale), "offset": np.array(offset)}
    nodes = [
        helper.make_node("Mul", ["pixels", "scale"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "offset"], ["normalized"]),
    ]
    value = "normalized"
    for layer, (operator, attributes) in zip(net.layers, operators(net.layers), strict=True):
        names = [f"{layer.name}.{parameter.name}" for parameter in layer.parameters]
        constants |= {name: parameter.value for name, parameter in zip(names, layer.parameters, strict=True)}
        result = "logits" if layer is net.layers[-1] else f"{layer.name}.out"
        nodes.append(helper.make_node(operator, [value, *names], [result], layer.name, **attributes))
        value = result
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    graph = helper.make_graph(
        nodes,
        checkpoint.config.model,
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 1, *facts.image_shape])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", len(facts.class_names)])
            for name in ("logits", "probabilities")
        ],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(
        graph, producer_name="distlenet", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR
    )
    helper.set_model_props(model, {"class_names": json.dumps(facts.class_names)})
    onnx.checker.check_model(model)
    return model.SerializeToString()
