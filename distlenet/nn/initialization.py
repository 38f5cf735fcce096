"""Initial parameters: a pure function of the seed and the parameter's position in the network."""

import numpy as np

from distlenet.arithmetic import NATIVE, Arithmetic
from distlenet.errors import ConfigError, nearest
from distlenet.nn.layer import Parameter

STREAM = 0  # the order of the data and the augmentation draw from others of the same seed, see data/plan.py
METHODS = ("he", "glorot", "fan-in", "normal")


def initialize(
    parameter: Parameter,
    method: str,
    seed: int,
    position: int,
    sigma: float = 0.1,
    arithmetic: Arithmetic = NATIVE,
) -> None:
    """Draw the values of one parameter.

    Weights: "he": N(0, 2 / fan-in) (He et al. 2015); "glorot": uniform within sqrt(6 / (fan-in +
    fan-out)) (Glorot and Bengio 2010); "fan-in": uniform within 2.4 / fan-in (LeCun et al. 1998);
    "normal": N(0, sigma^2). Biases are zero, except that "fan-in" (where the paper makes no difference) and
    "normal" draw them like weights. A parameter with a ``start`` is set to that instead.
    """
    if method not in METHODS:
        raise ConfigError(
            f"initialisation {method!r} is unknown{nearest(method, METHODS)}: one of {', '.join(METHODS)}"
        )
    if parameter.start is not None:
        parameter.value[...] = parameter.start
        return
    if not parameter.is_weight and method in ("he", "glorot"):
        parameter.value[...] = 0
        return
    # one independent stream per parameter: adding a layer at the end does not change the others
    random = arithmetic.stream(seed, STREAM, position)
    if method == "he":
        values = random.normal(0.0, np.sqrt(2 / parameter.fan_in), parameter.shape)
    elif method == "normal":
        values = random.normal(0.0, sigma, parameter.shape)
    else:
        glorot = method == "glorot"
        limit = np.sqrt(6 / (parameter.fan_in + parameter.fan_out)) if glorot else 2.4 / parameter.fan_in
        values = random.uniform(-limit, limit, parameter.shape)
    parameter.value[...] = values
