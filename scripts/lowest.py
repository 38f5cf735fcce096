"""Print pip's constraints for the lowest version that pyproject.toml allows of each package."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def lowest(pyproject: str) -> dict[str, str]:
    """Return the lower bound of every package of ``pyproject``, a file's text; ValueError if two differ."""
    found: dict[str, str] = {}
    for requirement in requirements(tomllib.loads(pyproject)["project"]):
        match = re.match(r"([\w.-]+)\s*>=\s*([\w.]+)", requirement)
        if match:
            name, version = match.groups()
            if found.setdefault(name, version) != version:
                raise ValueError(f"{name} has two lower bounds, {found[name]} and {version}: make them equal")
    return found


def requirements(project: dict) -> Iterator[str]:
    """Yield all requirements, those of extras included."""
    yield from project["dependencies"]
    for extra in project["optional-dependencies"].values():
        yield from extra


if __name__ == "__main__":
    for name, version in lowest(PYPROJECT.read_text(encoding="utf-8")).items():
        print(f"{name}=={version}")
