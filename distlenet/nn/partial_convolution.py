"""A convolution whose output channels each see only some input channels, given by a table: C3 of LeNet-5 in 1998."""

from collections.abc import Sequence

import numpy as np

from distlenet.errors import ConfigError
from distlenet.nn.convolution import Conv2d
from distlenet.nn.layer import Parameter


class PartialConv2d(Conv2d):
    """Output channel m sees the input channels ``table[m]``; there are no other weights.

    The weights are (connections, kernel, kernel), one kernel for each entry of the table, row by row. The
    product uses the full kernel with zeros in the gaps, which is fast and shares the code of Conv2d.
    """

    def __init__(self, table: Sequence[Sequence[int]], kernel: int = 5, padding: str = "valid") -> None:
        super().__init__(len(table), kernel, padding)
        self.table = table

    def _make_parameters(self, inputs: int) -> tuple[Parameter, Parameter]:
        pairs = [(m, c) for m, row in enumerate(self.table) for c in row]
        self._outputs, self._inputs = np.array(pairs).T  # of each connection
        if self._inputs.max() >= inputs:
            raise ConfigError(f"a convolution's table names channel {self._inputs.max()}, its input has {inputs}")
        k = self.kernel
        self._full = self.channels, inputs, k, k
        fan_in = np.array([len(row) * k * k for row in self.table])  # (channels,)
        fan_out = np.bincount(self._inputs)[self._inputs] * k * k  # (connections,)
        weights = Parameter("W", (len(pairs), k, k), fan_in[self._outputs, None, None], fan_out[:, None, None])
        return weights, Parameter("b", (self.channels,), fan_in, 1)

    def full_kernel(self) -> np.ndarray:
        """See Conv2d.full_kernel."""
        kernel = self.scratch("kernel", self._full)  # zero where there is no connection
        kernel[self._outputs, self._inputs] = self.parameters[0].value
        return kernel

    def full_gradient(self) -> np.ndarray:
        """See Conv2d.full_gradient."""
        return self.scratch("dkernel", self._full)

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        """See Conv2d.backward."""
        dx = super().backward(dy)
        self.parameters[0].gradient[...] = self.full_gradient()[self._outputs, self._inputs]
        return dx
