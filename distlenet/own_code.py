"""User code: ``FILE.py:NAME`` or ``package.module:NAME``, found, trusted and run.

A network, an optimizer, a schedule, an augmentation, a dataset format or a callback can be such code.

``find_source`` finds it without running any of it: ``FILE.py`` from the working directory, a module as Python's import
would, the working directory first. The SHA-256 is that of this one file; its imports are not checked.

A checkpoint, a TOML file or a run directory may come from anybody, and each can name such code. It runs only if the
command line names it, or trusts it by ``--trust-code``. ``load`` asks ``Trust.admit`` before it runs anything. Without
a Trust nothing is admitted, so a caller that forgets to pass one runs no code.
"""

import hashlib
import importlib
import importlib.util
import inspect
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path, PurePath
from types import CodeType, ModuleType
from typing import Any

from distlenet.bounded import MIB, read_bytes
from distlenet.config import CODE
from distlenet.errors import ConfigError, DistlenetError, OwnCodeError, UntrustedCodeError, nearest
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


# ---- trusted


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


# ---- run


def load(name: str, trust: Trust, what: str = "model", takes: str = "") -> tuple[Callable[..., Any], Source]:
    """Return the function or class ``name``, the code of the setting ``what``, and its source.

    ``takes``: the parameters that it must accept, for example "peak, steps". Raises UntrustedCodeError if ``trust``
    does not admit it; ConfigError if the file, module or name does not exist, the parameters do not fit, or the module
    fails.
    """
    source = trust.admit(name, what)
    module = _import(source, what)
    own = {
        key: value
        for key, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }  # not the module's imports: a checkpoint must not call just anything
    if source.function not in own:
        where = getattr(module, "__file__", None) or source.place
        near = nearest(source.function, own)
        kind = "class" if what == "optimizer" else "function"
        raise ConfigError(f"{what} {name}: {where} defines no {kind} {source.function!r}{near}")
    found = own[source.function]
    if takes:
        _check_parameters(found, takes, f"{what} {name}")
    return found, source


def _check_parameters(function: Callable[..., Any], takes: str, what: str) -> None:
    """Raise ConfigError unless ``function`` can be called with the parameters ``takes``."""
    try:
        signature = inspect.signature(function)
        signature.bind(*takes.split(", "))
    except ValueError:  # no signature is known: the call will tell
        return
    except TypeError as error:
        raise ConfigError(f"{what} takes ({', '.join(signature.parameters)}), expected ({takes})") from error


@contextmanager
def running(what: str, kind: type[DistlenetError] = OwnCodeError) -> Iterator[None]:
    """Turn errors of the block, which is user code, into one sentence that starts with ``what``."""
    try:
        yield
    except DistlenetError as error:
        raise kind(f"{what}: {error}") from error
    except Exception as error:
        raise kind(f"{what} failed: {type(error).__name__}: {error}".rstrip(": ")) from error


class _Loader(SourceFileLoader):
    """Runs the source whose SHA-256 was taken, not a compiled file that may lie next to it."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self._content = content

    def get_code(self, fullname: str) -> CodeType:
        """Return the compiled source."""
        return self.source_to_code(self._content, self.path)


def _import(source: Source, what: str) -> ModuleType:
    """Import the module of ``source``; whatever goes wrong in the user's code becomes one sentence."""
    place = source.place
    if place.endswith(".py") and source.content is None:
        raise ConfigError(
            f"there is no {what} file {source.path or Path(place).absolute()}: put it there, or run the command in "
            "the directory that the path starts from"
        )
    folder = str(Path.cwd())
    sys.path.insert(0, folder)  # modules next to where the command is given
    try:
        if source.path is None or source.content is None or not place.endswith(".py"):
            return importlib.import_module(place)
        loader = _Loader(source.module, str(source.path), source.content)
        spec = ModuleSpec(source.module, loader, origin=str(source.path))
        spec.has_location = True
        module = importlib.util.module_from_spec(spec)
        sys.modules[source.module] = module  # dataclasses and the like look their module up
        loader.exec_module(module)
        return module
    except Exception as error:
        is_file = isinstance(error, ModuleNotFoundError) and Path(f"{place}.py").is_file()
        advice = f" (for the file {place}.py, write {place}.py:{source.function})" if is_file else ""
        raise ConfigError(f"cannot load the {what} code {place}: {type(error).__name__}: {error}{advice}") from error
    finally:
        sys.path.remove(folder)
