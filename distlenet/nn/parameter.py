"""One named parameter array of a layer, a view into the network's flat vector."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Parameter:
    """A weight or bias; ``value`` and ``gradient`` are views that the network sets.

    ``fan_in`` and ``fan_out`` count the inputs of one unit and the outputs one input reaches: what the
    initialisers scale by: numbers, or arrays that broadcast to ``shape`` where units differ. Weight decay
    applies to weights only. ``start``: the value that every element begins with, whatever the
    initialisation.
    """

    name: str  # "W" or "b"
    shape: tuple[int, ...]
    fan_in: int | np.ndarray
    fan_out: int | np.ndarray
    value: np.ndarray = field(default=None, repr=False)  # shape
    gradient: np.ndarray = field(default=None, repr=False)  # shape
    start: float | None = None

    @property
    def is_weight(self) -> bool:
        """True for weights, False for biases."""
        return self.name == "W"

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape))
