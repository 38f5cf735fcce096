"""The source of a network of the user's own, found without running any of it.

``FILE.py:FUNCTION`` names a file, from the working directory; ``package.module:FUNCTION`` is looked for as Python's
import would, the working directory first. The SHA-256 is that of the one file: what it imports is not looked at.
"""

import hashlib
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from distlenet.bounded import MIB, read_bytes

LARGEST = 16 * MIB  # bytes of a source file


@dataclass(frozen=True)
class Source:
    """Where the code of ``model`` is; ``path`` is None if it was not found, or is no Python source."""

    model: str  # as it was named
    place: str  # FILE.py or package.module
    function: str
    path: Path | None
    content: bytes | None

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the file; None if it cannot be read."""
        return None if self.content is None else hashlib.sha256(self.content).hexdigest()

    def __str__(self) -> str:
        where = f"{self.path}, SHA-256 {self.sha256}" if self.sha256 else "which is not found here"
        return f"function {self.function} in {self.place} ({where})"


def is_custom(model: str) -> bool:
    """Whether ``model`` names code of the user's own."""
    return ":" in model


def source_sha256(model: str) -> str | None:
    """Return the SHA-256 of the file that ``model`` is built from; None: known by name, or no file is found."""
    return find_source(model).sha256 if is_custom(model) else None


def find_source(model: str) -> Source:
    """Return where the code of ``model`` is; nothing of it runs."""
    place, _, function = model.rpartition(":")
    try:
        path = Path(place).absolute() if place.endswith(".py") else _module_file(place)
        content = read_bytes(path, LARGEST) if path else None
    except (OSError, ValueError):  # ValueError: a NUL in the name
        path = content = None
    return Source(model, place, function, path, content)


def _module_file(name: str) -> Path | None:
    """Return the source file of the module ``name``, None if there is none; its packages are not imported."""
    search: list[str] | None = [str(Path.cwd()), *sys.path]
    origin = None
    for part in name.split("."):
        spec = PathFinder.find_spec(part, search) if search else None
        if spec is None:
            return None
        origin, search = spec.origin, list(spec.submodule_search_locations or ())
    return Path(origin) if origin and origin.endswith(".py") else None
