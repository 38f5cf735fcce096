"""Each layer as a chain of ONNX operators: the output of one is the first input of the next, constants follow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distlenet.errors import ExportError
from distlenet.nn.activations import ELU, LeakyReLU, ReLU, ScaledTanh, Sigmoid, Tanh
from distlenet.nn.convolution import Conv2d, PartialConv2d
from distlenet.nn.dense import Dense, Flatten
from distlenet.nn.layer import Layer
from distlenet.nn.losses import MAPLoss, SoftmaxCrossEntropy
from distlenet.nn.pooling import AveragePool2d, MaxPool2d, Pad2d, Pool2d, TrainablePool2d
from distlenet.nn.rbf import RBF


@dataclass(frozen=True)
class Operator:
    """One node: its ONNX type, its attributes, and its further inputs, by name."""

    kind: str
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)


def plain_tensors(layer: Layer) -> dict[str, np.ndarray]:
    """Return the parameters of ``layer`` as those of an ordinary layer of other frameworks: "weight" and "bias".

    Convolutions are (out, in / groups, k, k), dense layers (out, in). A convolution that sees some of its inputs has
    zeros in the gaps; trainable subsampling is a convolution with a group for each map; an RBF's weight are its codes.
    """
    if isinstance(layer, Conv2d):
        return {"weight": layer.full_kernel().copy(), "bias": layer.parameters[1].value}
    if isinstance(layer, TrainablePool2d):
        coefficient, bias = (parameter.value for parameter in layer.parameters)
        window = np.ones((1, 1, layer.window, layer.window), coefficient.dtype)
        return {"weight": coefficient[:, None, None, None] * window, "bias": bias}
    if isinstance(layer, RBF):
        return {"weight": layer.codes}
    names = {"W": "weight", "b": "bias"}
    return {names.get(parameter.name, parameter.name): parameter.value for parameter in layer.parameters}


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


def operators(layers: Sequence[Layer]) -> list[list[Operator]]:
    """Return the ONNX operators of each layer; raises ExportError for a layer without any."""
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


def probability_operators(loss: SoftmaxCrossEntropy) -> list[Operator]:
    """Return the operators from the logits (N, classes) to the probabilities (N, classes).

    With a MAPLoss the rubbish class, whose logit is always -j, takes part and is left out again. Raises ExportError
    for a loss that has probabilities of its own.
    """
    softmax = Operator("Softmax", {"axis": 1})
    formula = type(loss).probabilities
    if formula is SoftmaxCrossEntropy.probabilities:
        return [softmax]
    if formula is not MAPLoss.probabilities:
        raise ExportError(
            f"the loss {type(loss).__name__} has probabilities of its own, for which there is no ONNX operator here; "
            "the parameters alone can be written as npz or safetensors"
        )
    add = Operator("Pad", {}, {"pads": np.array([0, 0, 0, 1]), "rubbish": np.array(-loss.j, np.float32)})
    drop = {"starts": np.array([0]), "ends": np.array([-1]), "axes": np.array([1])}
    return [add, softmax, Operator("Slice", {}, drop)]
