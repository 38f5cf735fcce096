"""The network as an ONNX graph, from raw pixels to logits and probabilities.

The input ``pixels`` is (N, 1, rows, columns) float32, 0 for paper to 255 for ink: normalising is part of the
graph, so that nobody can forget it. The outputs ``logits`` and ``probabilities`` are (N, classes). Each layer is a
chain of operators. The output of one is the first input of the next; constants are its other inputs. A layer that
reads its input twice, as x * sigmoid(x) does, needs operators that do so too: extend ``Operator`` for it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distlenet.errors import ExportError, missing_extra
from distlenet.export.tensor_files import plain_tensors
from distlenet.nn.activations import ELU, LeakyReLU, ReLU, ScaledTanh, Sigmoid, Tanh
from distlenet.nn.convolution import Conv2d
from distlenet.nn.dense import Dense, Flatten
from distlenet.nn.layer import Layer
from distlenet.nn.losses import MAPLoss, SoftmaxCrossEntropy
from distlenet.nn.partial_convolution import PartialConv2d
from distlenet.nn.pooling import AveragePool2d, MaxPool2d, Pad2d, Pool2d, TrainablePool2d
from distlenet.nn.rbf import RBF
from distlenet.reader import Reader
from distlenet.runs.checkpoint import Checkpoint

OPSET = 13
IR = 8  # the version of the file format that goes with it: old readers can read it


@dataclass(frozen=True)
class Operator:
    """One node: its ONNX type, its attributes, and its further inputs, by name."""

    kind: str
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)


def _convolution(layer: Conv2d) -> list[Operator]:
    attributes = {"kernel_shape": [layer.kernel] * 2, "pads": [layer.border] * 4}
    return [Operator("Conv", attributes, plain_tensors(layer))]


def _pooling(kind: str) -> Callable[[Pool2d], list[Operator]]:
    return lambda layer: [Operator(kind, {"kernel_shape": [layer.window] * 2, "strides": [layer.stride] * 2})]


def _subsampling(layer: TrainablePool2d) -> list[Operator]:
    attributes = {"kernel_shape": [layer.window] * 2, "strides": [layer.stride] * 2, "group": layer.output_shape[0]}
    return [Operator("Conv", attributes, plain_tensors(layer))]


def _padding(layer: Pad2d) -> list[Operator]:
    before_and_after = np.array([0, 0, layer.border, layer.border] * 2)
    return [Operator("Pad", {}, {"pads": before_and_after, "value": np.array(layer.value, np.float32)})]


def _scaled_tanh(layer: ScaledTanh) -> list[Operator]:
    slope, amplitude = (np.array(value, np.float32) for value in (layer.SLOPE, layer.AMPLITUDE))
    return [Operator("Mul", {}, {"slope": slope}), Operator("Tanh"), Operator("Mul", {}, {"amplitude": amplitude})]


def _rbf(layer: RBF) -> list[Operator]:
    """Minus the squared distance of (N, inputs) from each of the codes (classes, inputs)."""
    return [
        Operator("Unsqueeze", {}, {"axes": np.array([1])}),  # (N, 1, inputs)
        Operator("Sub", {}, plain_tensors(layer)),
        Operator("ReduceSumSquare", {"axes": [2], "keepdims": 0}),
        Operator("Neg"),
    ]


CONVERTERS: dict[type[Layer], Callable[[Any], list[Operator]]] = {
    Conv2d: _convolution,
    PartialConv2d: _convolution,
    Pad2d: _padding,
    AveragePool2d: _pooling("AveragePool"),
    MaxPool2d: _pooling("MaxPool"),
    TrainablePool2d: _subsampling,
    ReLU: lambda layer: [Operator("Relu")],
    LeakyReLU: lambda layer: [Operator("LeakyRelu", {"alpha": layer.slope})],
    ELU: lambda layer: [Operator("Elu", {"alpha": 1.0})],
    Tanh: lambda layer: [Operator("Tanh")],
    ScaledTanh: _scaled_tanh,
    Sigmoid: lambda layer: [Operator("Sigmoid")],
    Flatten: lambda layer: [Operator("Flatten", {"axis": 1})],
    Dense: lambda layer: [Operator("Gemm", {"transB": 1}, plain_tensors(layer))],
    RBF: _rbf,
}


def operators(layer: Layer) -> list[Operator]:
    """Return the ONNX operators of ``layer``; raises ExportError if there are none."""
    if type(layer) not in CONVERTERS:
        known = ", ".join(kind.__name__ for kind in CONVERTERS)
        raise ExportError(
            f"layer {layer.name} is a {type(layer).__name__}, which has no ONNX operator here: expected {known}; the "
            "parameters alone can be written as npz or safetensors"
        )
    return CONVERTERS[type(layer)](layer)


def probability_operators(loss: SoftmaxCrossEntropy) -> list[Operator]:
    """Return the operators from the logits (N, classes) to the probabilities (N, classes).

    With a MAPLoss the rubbish class, whose logit is always -j, takes part and is left out again. Raises ExportError
    for a loss that computes its own probabilities.
    """
    softmax = Operator("Softmax", {"axis": 1})
    formula = type(loss).probabilities
    if formula is SoftmaxCrossEntropy.probabilities:
        return [softmax]
    if not isinstance(loss, MAPLoss) or formula is not MAPLoss.probabilities:
        raise ExportError(
            f"the loss {type(loss).__name__} computes its own probabilities, for which there is no ONNX operator here; "
            "the parameters alone can be written as npz or safetensors"
        )
    add = Operator("Pad", {}, {"pads": np.array([0, 0, 0, 1]), "rubbish": np.array(-loss.j, np.float32)})
    drop = {"starts": np.array([0]), "ends": np.array([-1]), "axes": np.array([1])}
    return [add, softmax, Operator("Slice", {}, drop)]


def onnx_bytes(checkpoint: Checkpoint) -> bytes:
    """Return the ONNX file of ``checkpoint``'s network.

    Raises ExportError: a layer without an operator, or the library is missing.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise ExportError(missing_extra("writing ONNX", "onnx", "export")) from error
    reader, facts = Reader(checkpoint), checkpoint.dataset
    normalising = [
        Operator("Mul", {}, {"scale": np.array(1 / (255 * facts.std), np.float32)}),
        Operator("Sub", {}, {"offset": np.array(facts.mean / facts.std, np.float32)}),
    ]
    layers, last = reader.net.layers, reader.net.layers[-1]
    parts = [
        ("pixels", normalising, "normalized"),
        *((layer.name, operators(layer), "logits" if layer is last else f"{layer.name}.out") for layer in layers),
        ("probabilities", probability_operators(reader.net.loss), "probabilities"),
    ]
    nodes, value = [], "pixels"
    constants: dict[str, np.ndarray] = {}
    for name, chain, result in parts:
        for place, operator in enumerate(chain, 1):
            inputs = {f"{name}.{key}": array for key, array in operator.constants.items()}
            constants |= inputs
            output = result if place == len(chain) else f"{name}.{place}"
            called = name if len(chain) == 1 else f"{name}.{place}"
            nodes.append(helper.make_node(operator.kind, [value, *inputs], [output], called, **operator.attributes))
            value = output
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
