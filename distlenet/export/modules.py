"""Each layer as PyTorch would make it: the name of a module of torch.nn, and its arguments.

Two layers are no modules of torch.nn, and are described by these names and arguments:

ScaledTanh(amplitude, slope)       amplitude * tanh(slope * x)
RBF(in_features, out_features)     minus the squared distance of x from each row of its ``weight``
"""

from typing import Any

from distlenet.export.operators import plain_tensors
from distlenet.nn import Net
from distlenet.nn.activations import ELU, LeakyReLU, ScaledTanh
from distlenet.nn.convolution import Conv2d
from distlenet.nn.dense import Dense
from distlenet.nn.layer import Layer
from distlenet.nn.pooling import AveragePool2d, Pad2d, Pool2d, TrainablePool2d
from distlenet.nn.rbf import RBF


def describe(net: Net) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (name, module, arguments) of every layer, in order."""
    return [(layer.name, *_module(layer)) for layer in net.layers]


def _module(layer: Layer) -> tuple[str, dict[str, Any]]:
    kind = type(layer).__name__
    if isinstance(layer, Conv2d):
        outputs, inputs, kernel, _ = plain_tensors(layer)["weight"].shape
        sizes = {"in_channels": inputs, "out_channels": outputs, "kernel_size": kernel}
        return "Conv2d", {**sizes, "padding": layer.border}
    if isinstance(layer, TrainablePool2d):
        maps = layer.output_shape[0]
        sizes = {"in_channels": maps, "out_channels": maps, "kernel_size": layer.window}
        return "Conv2d", {**sizes, "stride": layer.stride, "groups": maps}
    if isinstance(layer, Pool2d):
        arguments = {"kernel_size": layer.window, "stride": layer.stride}
        return ("AvgPool2d" if isinstance(layer, AveragePool2d) else kind), arguments
    if isinstance(layer, Dense | RBF):
        outputs, inputs = plain_tensors(layer)["weight"].shape
        return ("RBF" if isinstance(layer, RBF) else "Linear"), {"in_features": inputs, "out_features": outputs}
    if isinstance(layer, Pad2d):
        return "ConstantPad2d", {"padding": layer.border, "value": layer.value}
    arguments = {
        LeakyReLU: lambda: {"negative_slope": layer.slope},
        ELU: lambda: {"alpha": 1.0},
        ScaledTanh: lambda: {"amplitude": layer.AMPLITUDE, "slope": layer.SLOPE},
    }
    return kind, arguments.get(type(layer), dict)()
