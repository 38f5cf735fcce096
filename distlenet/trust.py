"""Which user code may run: ``FILE.py:NAME`` or ``package.module:NAME``, found without running any of it.

``FILE.py`` is found from the working directory, a module as Python's import would, the working directory first. The
SHA-256 is that of this one file; its imports are not checked.

A checkpoint, a TOML file or a run directory may come from anybody, and each can name such code. It runs only if the
command line names it, or trusts it by ``--trust-code``. ``own_code.load`` asks ``Trust.admit`` before it runs anything.
Without a Trust nothing is admitted, so a caller that forgets to pass one runs no code.
"""

import hashlib
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path, PurePath
from typing import Any

from distlenet.bounded import MIB, read_bytes
from distlenet.config import CODE
from distlenet.errors import UntrustedCodeError
from distlenet.paths import is_custom

LARGEST = 16 * MIB  # bytes of a source file
LONGEST = 1000  # characters of a name that a file holds
ROLES = {"model": "network"}  # the word for a setting's code in messages, if it is not the setting's name


@dataclass(frozen=True)
class Source:
    """The source of the code ``name``; ``path`` is None if it was not found, or is not Python source."""

    name: str  # as it was given
    place: str  # FILE.py or package.module
    function: str
    path: Path | None
    content: bytes | None

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the file; None if it cannot be read."""
        return None if self.content is None else hashlib.sha256(self.content).hexdigest()

    @property
    def module(self) -> str:
        """The name under which the code is imported."""
        return f"distlenet_own_{Path(self.place).stem}" if self.place.endswith(".py") else self.place

    def __str__(self) -> str:
        where = f"{self.path}, SHA-256 {self.sha256}" if self.sha256 else "which is not found here"
        return f"{self.name} ({where})"


def source_sha256(name: str) -> str | None:
    """Return the SHA-256 of the file of the code ``name``; None if it is not user code, or no file is found."""
    return find_source(name).sha256 if is_custom(name) else None


def find_source(name: str) -> Source:
    """Return the source of the code ``name``, without running it."""
    place, _, function = name.rpartition(":")
    path, content = None, None
    try:
        path = Path(place).absolute() if place.endswith(".py") else _module_file(place)
        content = read_bytes(path, LARGEST) if path else None
    except (OSError, ValueError):  # ValueError: a NUL in the name
        path = None
    return Source(name, place, function, path, content)


def _module_file(name: str) -> Path | None:
    """Return the source file of the module ``name``, None if it has none; its packages are not imported."""
    search: list[str] | None = [str(Path.cwd()), *sys.path]
    origin = None
    for part in name.split("."):
        spec = PathFinder.find_spec(part, search) if search else None
        if spec is None:
            return None
        origin, search = spec.origin, list(spec.submodule_search_locations or ())
    return Path(origin) if origin and origin.endswith(".py") else None


@dataclass(frozen=True)
class Trust:
    """What code may run: what the command line names; with ``files``, also what a file names.

    ``named`` is the network as the command line names it, ``others`` all other code that it names. ``command`` are
    the words of the command line, which a refusal repeats with the missing option. ``tell`` is called with notes for
    the user.
    """

    named: str | None = None
    files: bool = False
    command: tuple[str, ...] = ()
    tell: Callable[[str], None] = lambda text: None
    others: tuple[str, ...] = ()

    @classmethod
    def in_settings(cls, settings: Mapping[str, Any], callbacks: Iterable[str] = (), **more: Any) -> "Trust":
        """Return the trust in the code that ``settings`` given by the user, and ``callbacks``, name."""
        names = {name: os.path.expanduser(str(settings[name])) for name in CODE if settings.get(name) is not None}
        return cls(names.pop("model", None), others=(*names.values(), *callbacks), **more)

    def admit(self, name: str, what: str = "model") -> Source:
        """Return the source of the code ``name``, a ``what``, if it may run; raises UntrustedCodeError."""
        self.check({what: name})
        source = find_source(name)
        if source.sha256 and not self.names(name):
            self.tell(f"running {source}, trusted by --trust-code")
        return source

    def names(self, name: str) -> bool:
        """Whether the command line names the code ``name``."""
        return name == self.named or name in self.others

    def check(self, code: Mapping[str, str]) -> None:
        """Raise UntrustedCodeError, naming all refused code, unless all ``code`` (setting -> name) may run."""
        refused: dict[str, Source] = {}
        for what, name in code.items():
            if self.names(name):
                continue
            role, again = ROLES.get(what, what), self._again(f"--{what}", name)
            if problem := _malformed(name):
                raise UntrustedCodeError(f"a file names the code {name[:LONGEST]!r} as its {role}: {problem}")
            source = find_source(name)
            if outside := _leads_outside(source.place):
                raise UntrustedCodeError(
                    f"a file names {source} as its {role}: {outside}, and a file may only name code in the working "
                    f"directory; if you trust it: {again}"
                )
            if not self.files:
                refused[what] = source
        if refused:
            named = " and ".join(f"{source} as its {ROLES.get(what, what)}" for what, source in refused.items())
            again = self._again(*(word for what, source in refused.items() for word in (f"--{what}", source.name)))
            it, runs = ("them", "they are not run") if len(refused) > 1 else ("it", "it is not run")
            raise UntrustedCodeError(
                f"a file names {named}, which your command line does not: {runs}; if you trust {it}: {again}"
            )

    def _again(self, *words: str) -> str:
        """Return the command line with ``words``, options and their values in turn, added to it."""
        command, *rest = self.command or ("COMMAND", "...")
        return f"distlenet {shlex.join([command, *words])} {shlex.join(rest)}".rstrip().replace(" ...", "")


NOTHING = Trust()


def _malformed(name: str) -> str:
    """Return why ``name``, read from a file, is malformed; "" if it is not."""
    place, _, function = name.rpartition(":")
    if len(name) > LONGEST or not name.isprintable():
        return f"expected at most {LONGEST} printable characters"
    module = all(part.isidentifier() for part in place.split("."))
    if not function.isidentifier() or not (place.removesuffix(".py") if place.endswith(".py") else module):
        return "expected FILE.py:NAME or MODULE:NAME"
    return ""


def _leads_outside(place: str) -> str:
    """Return why the file ``place`` is outside the working directory; "" if it is inside, or is a module."""
    path = PurePath(place)
    if not place.endswith(".py"):
        return ""
    return "its path is absolute" if path.is_absolute() else "its path has '..'" if ".." in path.parts else ""
