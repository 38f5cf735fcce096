"""Which peers there are, and which of them are installed."""

from collections.abc import Iterable
from importlib.util import find_spec
from types import ModuleType

from distlenet.bench.peers import jax, machine, onnxruntime, openvino, ours, pytorch, tensorflow

OURS = (machine, ours)
# by the names that --peers takes; each has PEERS, the packages that it NEEDS and how to INSTALL them
LIBRARIES: dict[str, ModuleType] = {
    "torch": pytorch,
    "tensorflow": tensorflow,
    "jax": jax,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
}


def choose(names: Iterable[str]) -> tuple[list[ModuleType], dict[str, str]]:
    """Return the libraries of ``names`` that are installed, and for the others how to install them."""
    wanted = {name: LIBRARIES[name] for name in names}
    missing = {name: library.INSTALL for name, library in wanted.items() if not all(map(find_spec, library.NEEDS))}
    return [library for name, library in wanted.items() if name not in missing], missing
