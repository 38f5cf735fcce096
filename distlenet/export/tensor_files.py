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

import numpy as np

from distlenet.errors import ExportError, missing_extra
from distlenet.export.modules import describe
from distlenet.export.operators import plain_tensors
from distlenet.runs.checkpoint import Checkpoint


def tensors(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Return the parameters by name, float32; see plain_tensors."""
    return {
        f"{layer.name}.{name}": np.ascontiguousarray(array)
        for layer in checkpoint.build_net().layers
        for name, array in plain_tensors(layer).items()
    }


def metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """Return what somebody must know to use the parameters, all values text."""
    facts, config = checkpoint.dataset, checkpoint.config
    return {
        "model": config.model,
        "activation": config.activation,
        "pooling": config.pooling,
        "image_shape": json.dumps(facts.image_shape),
        "class_names": json.dumps(facts.class_names),
        "layers": json.dumps(describe(checkpoint.build_net())),
        "input": f"(pixel / 255 - {facts.mean!r}) / {facts.std!r}, pixel 0 (paper) to 255 (ink)",
    }


def npz_bytes(checkpoint: Checkpoint) -> bytes:
    """Return an npz file for numpy.load, without pickle."""
    file = io.BytesIO()
    np.savez(file, metadata=np.array(json.dumps(metadata(checkpoint))), **tensors(checkpoint))
    return file.getvalue()


def safetensors_bytes(checkpoint: Checkpoint) -> bytes:
    """Return a safetensors file; raises ExportError if the library is missing."""
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise ExportError(missing_extra("writing safetensors", "safetensors", "export")) from error
    return save(tensors(checkpoint), metadata(checkpoint))
