"""Networks of the user's own: ``FILE.py:FUNCTION`` or ``package.module:FUNCTION``.

The function gets (input_shape, classes), for example ((1, 28, 28), 10), and returns a Net. A checkpoint
holds the name and the SHA-256 of the file, not the code. To build such a network is to run that file: ``trust.py``
says who may allow it.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from distlenet.errors import ConfigError, nearest
from distlenet.nn.net import Net
from distlenet.nn.source import Source
from distlenet.nn.trust import Trust


def build_custom(model: str, input_shape: tuple[int, int, int], classes: int, trust: Trust) -> Net:
    """Return the network that the function ``model`` makes for samples of ``input_shape`` (C, H, W).

    Raises UntrustedCodeError if ``trust`` does not admit it; ConfigError, in one sentence: no such file, module or
    function; it fails; or what it returns is no network for this input and number of classes.
    """
    source = trust.admit(model)
    build = _find_function(source, _load(source))
    try:
        net = build(input_shape, classes)
    except ConfigError as error:
        raise ConfigError(f"model {model}: {error}") from error
    except Exception as error:
        raise ConfigError(
            f"model {model} failed on ({input_shape}, {classes}): {type(error).__name__}: {error}"
        ) from error
    if not isinstance(net, Net):
        raise ConfigError(f"model {model} returned {type(net).__name__}, expected a Net, for example a Sequential")
    if tuple(net.input_shape) != tuple(input_shape) or net.output_shape != (classes,):
        raise ConfigError(
            f"model {model} is a network from {tuple(net.input_shape)} to {net.output_shape}, expected one from "
            f"{input_shape} to {(classes,)}: use the input_shape and classes that the function is given"
        )
    net.code_sha256 = source.sha256
    return net


def _find_function(source: Source, module: ModuleType) -> Callable[[tuple[int, int, int], int], Net]:
    own = {
        key: value
        for key, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }  # not what the module imports: a checkpoint must not call whatever it likes
    name = source.function
    if name not in own:
        where = getattr(module, "__file__", None) or source.place
        raise ConfigError(f"model {source.model}: {where} defines no function {name!r}{nearest(name, own)}")
    return own[name]


class _Loader(SourceFileLoader):
    """Runs the source whose SHA-256 was taken, not a compiled file that may lie beside it."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self._content = content

    def get_code(self, fullname: str) -> CodeType:
        """Return the compiled source."""
        return self.source_to_code(self._content, self.path)


def _load(source: Source) -> ModuleType:
    place = source.place
    if not place.endswith(".py"):
        return _run(place, lambda: importlib.import_module(place))
    path = source.path or Path(place).absolute()
    if source.content is None:
        raise ConfigError(
            f"there is no model file {path}: a network of your own is built from its code; put the file there, or "
            "give the command in the directory that it was trained from"
        )
    name = f"distlenet_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, str(path), source.content))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and the like look their module up
    _run(place, lambda: spec.loader.exec_module(module))
    return module


def _run(place: str, load: Callable[[], ModuleType | None]) -> ModuleType | None:
    """Run the user's code; whatever goes wrong in it becomes one sentence."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)  # modules beside the place the command is given from
    try:
        return load()
    except Exception as error:
        is_file = isinstance(error, ModuleNotFoundError) and Path(f"{place}.py").is_file()
        advice = f" (for the file {place}.py: {place}.py:FUNCTION)" if is_file else ""
        raise ConfigError(f"cannot load the model code {place}: {type(error).__name__}: {error}{advice}") from error
    finally:
        sys.path.remove(folder)
