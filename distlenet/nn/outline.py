"""What a network looks like from outside: its layers, what they put out, and how much they hold."""

from dataclasses import dataclass

from distlenet.nn.net import Net


@dataclass(frozen=True)
class Row:
    """One layer of the outline."""

    name: str  # "C1"
    kind: str  # "Conv2d"
    shape: tuple[int, ...]  # of one sample of its output
    parameters: int


def outline(net: Net) -> list[Row]:
    """Return a row for each layer of ``net``, in order."""
    return [
        Row(
            layer.name,
            type(layer).__name__,
            layer.output_shape,
            sum(parameter.size for parameter in layer.parameters),
        )
        for layer in net.layers
    ]
