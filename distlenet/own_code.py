"""User code that a Trust admits, loaded and run with errors of one sentence.

A network, an optimizer, a schedule, an augmentation, a dataset format or a callback can be such code.
"""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from distlenet.errors import ConfigError, DistlenetError, OwnCodeError, nearest
from distlenet.trust import Source, Trust


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
