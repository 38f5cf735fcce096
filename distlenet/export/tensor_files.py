"""The parameters alone, under PyTorch's names and shapes: C1.weight (out, in, k, k), F6.bias (units,), ...

    from safetensors.torch import load_file
    module.load_state_dict(load_file("digits.safetensors"))

The metadata (in npz: the array ``metadata``, JSON) says how the network is built, layer by layer, and its input
normalised:

    with safe_open("digits.safetensors", "pt") as file:
        layers = json.loads(file.metadata()["layers"])
    module = Sequential(OrderedDict((name.replace(".", "_"), getattr(torch.nn, kind)(**arguments))
                                    for name, kind, arguments in layers))
"""

import io
import json
from typing import Any

import numpy as np

from distlenet.errors import ExportError, missing_extra
from distlenet.nn.activations import ELU, LeakyReLU, ScaledTanh
from distlenet.nn.convolution import Conv2d
from distlenet.nn.dense import Dense
from distlenet.nn.layer import Layer
from distlenet.nn.pooling import AveragePool2d, Pad2d, Pool2d, TrainablePool2d
from distlenet.nn.rbf import RBF
from distlenet.runs.checkpoint import Checkpoint


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


def module(layer: Layer) -> tuple[str, dict[str, Any]]:
    """Return the PyTorch module for ``layer``: its name in torch.nn, and its arguments.

    Two are not modules of torch.nn: ScaledTanh(amplitude, slope), amplitude * tanh(slope * x), and RBF(in_features,
    out_features), minus the squared distance of x from each row of its ``weight``.
    """
    kind = type(layer).__name__
    arguments: dict[str, Any] = {}
    match layer:
        case Conv2d():
            outputs, inputs, kernel, _ = plain_tensors(layer)["weight"].shape
            kind, arguments = "Conv2d", {"in_channels": inputs, "out_channels": outputs, "kernel_size": kernel}
            arguments |= {"padding": layer.border}
        case TrainablePool2d():
            maps = layer.output_shape[0]
            kind, arguments = "Conv2d", {"in_channels": maps, "out_channels": maps, "kernel_size": layer.window}
            arguments |= {"stride": layer.stride, "groups": maps}
        case Pool2d():
            kind = "AvgPool2d" if isinstance(layer, AveragePool2d) else kind
            arguments = {"kernel_size": layer.window, "stride": layer.stride}
        case Dense() | RBF():
            outputs, inputs = plain_tensors(layer)["weight"].shape
            kind, arguments = "Linear" if isinstance(layer, Dense) else "RBF", {"in_features": inputs}
            arguments |= {"out_features": outputs}
        case Pad2d():
            kind, arguments = "ConstantPad2d", {"padding": layer.border, "value": layer.value}
        case LeakyReLU():
            arguments = {"negative_slope": layer.slope}
        case ELU():
            arguments = {"alpha": 1.0}
        case ScaledTanh():
            arguments = {"amplitude": layer.AMPLITUDE, "slope": layer.SLOPE}
    return kind, arguments


def tensors(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Return the parameters by name, float32; see plain_tensors."""
    return {
        f"{layer.name}.{name}": np.ascontiguousarray(array)
        for layer in checkpoint.build_net().layers
        for name, array in plain_tensors(layer).items()
    }


def metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the information needed to use the parameters; all values are text."""
    facts, config = checkpoint.dataset, checkpoint.config
    return {
        "model": config.model,
        "activation": config.activation,
        "pooling": config.pooling,
        "image_shape": json.dumps(facts.image_shape),
        "class_names": json.dumps(facts.class_names),
        "layers": json.dumps([(layer.name, *module(layer)) for layer in checkpoint.build_net().layers]),
        "input": f"(pixel / 255 - {facts.mean!r}) / {facts.std!r}, pixel 0 (paper) to 255 (ink)",
    }


def npz_bytes(checkpoint: Checkpoint) -> bytes:
    """Return an npz file for numpy.load, without pickle."""
    file = io.BytesIO()
    arrays: dict[str, Any] = tensors(checkpoint)
    np.savez(file, metadata=np.array(json.dumps(metadata(checkpoint))), **arrays)
    return file.getvalue()


def safetensors_bytes(checkpoint: Checkpoint) -> bytes:
    """Return a safetensors file; raises ExportError if the library is missing."""
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise ExportError(missing_extra("writing safetensors", "safetensors", "export")) from error
    return save(tensors(checkpoint), metadata(checkpoint))
