"""The network's answer for the page, as JSON: probabilities, the image, and the output of every layer."""

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from distlenet.nn import Flatten, Layer
from distlenet.reader import CLOSE, LEAST, Reader

MOST_MAPS = 64  # feature maps shown per layer
MOST_UNITS = 1024  # units shown per dense layer
MOST_NUMBERS = 2**16  # numbers shown per layer with maps


class Shown(NamedTuple):
    """A layer as the page shows it, together with the activation that follows it."""

    name: str
    place: int  # index of its output among those of all layers
    shape: tuple[int, ...]  # shape of the part that is shown: (maps, rows, columns) or (units,)
    size: tuple[int, ...]  # shape of the whole output


def shown_layers(layers: Sequence[Layer]) -> list[Shown]:
    """Return the layers to show; flattening is left out, because it changes no number."""
    found: list[Shown] = []
    for place, layer in enumerate(layers):
        if isinstance(layer, Flatten):
            continue
        size = layer.output_shape
        if layer.elementwise and found and found[-1].size == size:
            found[-1] = found[-1]._replace(place=place)
            continue
        most = min(MOST_MAPS, max(1, MOST_NUMBERS // (size[1] * size[2]))) if len(size) == 3 else MOST_UNITS
        found.append(Shown(layer.name, place, (min(size[0], most), *size[1:]), size))
    return found


def answer(reader: Reader, shown: Sequence[Shown], image: np.ndarray) -> dict[str, Any]:
    """Return the answer to ``image`` (rows, columns) uint8, one digit.

    ``second`` is the second reading if it is close. ``none`` is the probability of none of the classes, of a network
    that has such an answer. Arrays are base64: the image bytes in 0 to 255, a layer's signed bytes, its largest
    magnitude being 127.
    """
    outputs = [output for _, output in reader.outputs(image[None])]
    probabilities = reader.likely(outputs[-1])[:, 0]
    order = np.argsort(-probabilities, kind="stable").tolist()
    best, second = order[0], order[:2][-1]
    close = probabilities[best] < LEAST or probabilities[second] >= CLOSE
    return {
        "label": reader.class_names[best],
        "sure": bool(probabilities[best] >= LEAST),
        "second": reader.class_names[second] if close else None,
        "second_probability": round(float(probabilities[second]), 6),
        "probability": round(float(probabilities[best]), 6),
        "probabilities": np.round(probabilities, 6).tolist(),
        "none": round(max(0.0, 1 - float(probabilities.sum())), 6),
        "image": _encoded(image),
        "layers": [_encoded(_as_bytes(outputs[layer.place][: layer.shape[0], ..., 0])) for layer in shown],
    }


def _as_bytes(values: np.ndarray) -> np.ndarray:
    largest = max(float(np.abs(values).max()), 1e-9)
    return np.rint(values * (127 / largest)).astype(np.int8)


def _encoded(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
