"""Networks of the user's own: ``FILE.py:FUNCTION`` or ``package.module:FUNCTION``.

The function gets (input_shape, classes), for example ((1, 28, 28), 10), and returns a Net. A checkpoint
holds the name, not the code: who evaluates it or goes on with it needs the same file at the same place.
To build such a network is to run that file: as with any program, only one that you trust.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from distlenet.errors import ConfigError, nearest
from distlenet.nn.net import Net


def is_custom(model: str) -> bool:
    """Whether ``model`` names code of the user's own."""
    return ":" in model


def build_custom(model: str, input_shape: tuple[int, int, int], classes: int) -> Net:
    """Return the network that the function ``model`` makes for samples of ``input_shape`` (C, H, W).

    Raises ConfigError, in one sentence: no such file, module or function; it fails; or what it returns
    is no network for this input and number of classes.
    """
    place, _, name = model.rpartition(":")
    build = _find_function(model, _load(place), name)
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
    return net


def _find_function(model: str, module: ModuleType, name: str) -> Callable[[tuple[int, int, int], int], Net]:
    own = {
        key: value
        for key, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }  # not what the module imports: a checkpoint must not call whatever it likes
    if name not in own:
        raise ConfigError(f"model {model}: {module.__file__} defines no function {name!r}{nearest(name, own)}")
    return own[name]


def _load(place: str) -> ModuleType:
    if not place.endswith(".py"):
        return _run(place, lambda: importlib.import_module(place))
    path = Path(place).absolute()
    if not path.is_file():
        raise ConfigError(
            f"there is no model file {path}: a network of your own is built from its code; put the file there, or "
            "give the command in the directory that it was trained from"
        )
    spec = importlib.util.spec_from_file_location(f"distlenet_model_{path.stem}", path)
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
        raise ConfigError(f"cannot load the model code {place}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
