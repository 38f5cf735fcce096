"""User-defined code in a portable run: does it compute with functions whose last bit depends on the machine?

Judged by the names that the code mentions: it is neither run nor changed. Code that mentions ``arithmetic`` is trusted.
"""

import dis
from collections.abc import Iterator
from types import CodeType
from typing import Any

from distlenet.nn.net import Net
from distlenet.nn.optimizers import Optimizer

PACKAGE = __name__.partition(".")[0]
FUNCTIONS = {  # of numpy and math, and methods of arrays: their order of additions, or their last bit, is not defined
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "power", "pow", "cbrt", "logaddexp", "hypot"),
    *("sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh", "tanh", "arcsinh", "arctanh"),
    *("sum", "mean", "std", "var", "average", "prod", "nansum", "nanmean", "reduce", "norm", "trapezoid"),
    *("dot", "vdot", "inner", "outer", "matmul", "matvec", "vecdot", "tensordot", "einsum", "convolve", "correlate"),
    *("fft", "ifft", "rfft", "solve", "inv", "svd", "qr", "eigh", "default_rng", "Generator", "scipy"),
}
OPERATORS = {"@", "@=", "**", "**="}


def list_unportable(net: Net, optimizer: Optimizer) -> list[str]:
    """Return a sentence for each user-defined layer, loss or optimizer that uses such functions."""
    parts: dict[str, Any] = {f"layer {layer.name} ({type(layer).__name__})": layer for layer in net.layers}
    parts |= {f"loss {type(net.loss).__name__}": net.loss, f"optimizer {type(optimizer).__name__}": optimizer}
    return [text for what, part in parts.items() for text in judge(what, type(part))]


def judge(what: str, code: Any) -> list[str]:
    """Return one sentence if ``code``, a class or a function called ``what`` in it, uses such functions; else none."""
    used: set[str] = set()
    for function in _functions(code):
        for part in _with_inner(function):
            used |= set(part.co_names)
            used |= {step.argrepr for step in dis.get_instructions(part) if step.opname == "BINARY_OP"}
    found = sorted(used & (FUNCTIONS | OPERATORS))
    if not found or "arithmetic" in used:
        return []
    return [f"{what} uses {', '.join(found)}, not self.arithmetic: the run's last bits may depend on the machine"]


def _functions(code: Any) -> Iterator[CodeType]:
    """Yield the code of a function, or of the methods that a class has from outside this package."""
    if not isinstance(code, type):
        body = getattr(code, "__code__", None)
        if isinstance(body, CodeType):
            yield body
        return
    for cls in code.__mro__:
        if cls.__module__.partition(".")[0] not in (PACKAGE, "builtins"):
            for member in vars(cls).values():
                yield from _functions(getattr(member, "__func__", member)) if not isinstance(member, type) else ()


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    """Yield ``code`` and that of the functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_inner(constant)
