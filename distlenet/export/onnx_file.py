"""The network as an ONNX graph, from raw pixels to logits and probabilities.

The input ``pixels`` is (N, 1, rows, columns) float32, 0 for paper to 255 for ink: normalising is part of the
graph, so that nobody can forget it. The outputs ``logits`` and ``probabilities`` are (N, classes).
"""

import json

import numpy as np

from distlenet.errors import ExportError, missing_extra
from distlenet.export.operators import Operator, operators, probability_operators
from distlenet.runs.checkpoint import Checkpoint

OPSET = 13
IR = 8  # the version of the file format that goes with it: old readers can read it


def onnx_bytes(checkpoint: Checkpoint) -> bytes:
    """Return the ONNX file of ``checkpoint``'s network.

    Raises ExportError: a layer without an operator, or the library is missing.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise ExportError(missing_extra("writing ONNX", "onnx", "export")) from error
    net, facts = checkpoint.build_net(), checkpoint.dataset
    scale, offset = np.float32(1 / (255 * facts.std)), np.float32(facts.mean / facts.std)
    normalising = [
        Operator("Mul", {}, {"scale": np.array(scale)}),
        Operator("Sub", {}, {"offset": np.array(offset)}),
    ]
    names = [layer.name for layer in net.layers]
    parts = [
        ("pixels", normalising, "normalized"),
        *zip(names, operators(net.layers), [*(f"{name}.out" for name in names[:-1]), "logits"], strict=True),
        ("probabilities", probability_operators(net.loss), "probabilities"),
    ]
    nodes, constants, value = [], {}, "pixels"
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
