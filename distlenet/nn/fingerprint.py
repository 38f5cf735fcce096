"""Hashes of a network's constants and of its answer to a fixed input: they must be equal on all ranks."""

import copy
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from distlenet.errors import DistlenetError, OwnCodeError
from distlenet.nn.layer import Parameter
from distlenet.nn.net import Net

SAMPLES = 2  # images in the fixed input


def hash_constants(net: Net) -> dict[str, str]:
    """Return the SHA-256 of each layer's attributes by layer name, and the loss's under "loss".

    Call it before the network has computed anything. Numbers, texts and arrays are hashed, in containers and objects
    too; of anything else only the type.
    """
    parts = {layer.name: layer for layer in net.layers} | {"loss": net.loss}
    return {name: hashlib.sha256("\n".join(_describe(part, [])).encode()).hexdigest() for name, part in parts.items()}


def hash_answer(net: Net) -> str | None:
    """Return the SHA-256 of the loss and gradient that a copy of ``net`` computes for random images.

    It depends on everything that the network's code has read, be it from a file or the environment. None if the
    network does not give the same answer twice, or cannot be copied or run.
    """
    try:
        with _random_state_kept():
            answers = [_answer(copy.deepcopy(net)) for _ in range(2)]
    except Exception:
        return None  # a fault in the user's code: training will report it
    return answers[0] if answers[0] == answers[1] else None


def check_computes(net: Net, model: str) -> None:
    """Raise OwnCodeError if ``net``, made by the user's code ``model``, cannot compute the gradient of random images.

    A copy is asked. A network that cannot be copied is not: training will report its faults.
    """
    try:
        own = copy.deepcopy(net)
    except Exception:
        return
    try:
        with _random_state_kept():
            _answer(own)
    except DistlenetError:
        raise
    except Exception as error:
        what = f"the gradient of {SAMPLES} random images failed: {type(error).__name__}: {error}"
        raise OwnCodeError(f"model {model}: {what}") from error


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Leave numpy's global generator as it was."""
    before = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _answer(net: Net) -> str:
    """Return the SHA-256 of the loss and gradient that ``net`` computes for random images."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((*net.input_shape, SAMPLES)).astype(net.theta.dtype)
    labels = rng.integers(net.output_shape[0], size=SAMPLES)
    gradient = np.zeros_like(net.theta)
    with np.errstate(all="ignore"):
        loss, _ = net.loss_and_grad(x, labels, gradient)
    return hashlib.sha256(np.float64(loss).tobytes() + gradient.tobytes()).hexdigest()


def _describe(value: Any, within: list[int]) -> Iterator[str]:
    """Yield lines that differ if two values differ; ``within`` lists the ids of the objects that contain ``value``."""
    kind = type(value).__qualname__
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        yield f"{kind} {value!r}"
    elif id(value) in within:
        yield f"{kind} again"
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield f"{kind} {value.dtype.str} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    else:
        yield kind
        within = [*within, id(value)]
        if isinstance(value, set | frozenset):
            yield from sorted(line for item in value for line in _describe(item, within))
        elif isinstance(value, list | tuple):
            for item in value:
                yield from _describe(item, within)
        else:
            for name, item in sorted(_attributes(value).items(), key=lambda pair: str(pair[0])):
                yield str(name)
                yield from _describe(item, within)


def _attributes(value: Any) -> dict[Any, Any]:
    """Return the attributes of an object, or the items of a dict; empty for a class, a function or a module."""
    if isinstance(value, dict):
        return value
    if isinstance(value, Parameter):  # its value is part of theta
        return {name: item for name, item in vars(value).items() if name not in ("value", "gradient")}
    if isinstance(value, type | ModuleType) or callable(value) or not hasattr(value, "__dict__"):
        return {}
    return {name: item for name, item in vars(value).items() if name != "_scratch"}
