"""The source files of user code: they must be the same on all ranks."""

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from distlenet.paths import is_custom
from distlenet.trust import find_source

PACKAGE = Path(__file__).resolve().parent
INSTALLED = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def hash_code(name: str) -> dict[str, str]:
    """Return by module the SHA-256 of each source file of the user code ``name``; {} if it is not user code.

    These are its own file and those of the modules that it imports, except installed ones. Call it after the code has
    run: modules that have not been imported by then are not found.
    """
    found: dict[str, str] = {}
    waiting = [find_source(name).module] if is_custom(name) else []
    while waiting:
        current = waiting.pop()
        module = sys.modules.get(current)
        path = _own_file(module)
        if module is None or path is None or current in found:
            continue
        source = path.read_bytes()
        found[current] = hashlib.sha256(source).hexdigest()
        waiting += _imported(source, module)
    return found


def _own_file(module: ModuleType | None) -> Path | None:
    """Return the source file of ``module`` if it is user code: Python that is neither installed nor in this package."""
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py") or not Path(file).is_file():
        return None
    path = Path(file).resolve()
    return None if any(path.is_relative_to(folder) for folder in (*INSTALLED, PACKAGE)) else path


def _imported(source: bytes, module: ModuleType) -> Iterator[str]:
    """Yield the names of the modules that the ``source`` of ``module`` may import."""
    package = (module.__package__ or "").split(".")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                yield from (".".join(parts[: length + 1]) for length in range(len(parts)))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)
