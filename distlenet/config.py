"""Settings of a run: one flat, frozen dataclass; a recipe, a TOML file and flags fill it, in that order."""

import json
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any

from distlenet.bounded import parse_toml, read_text
from distlenet.errors import ConfigError, LaunchError, nearest
from distlenet.paths import code_path, is_custom

LARGEST_FILE = 2**16  # bytes of a TOML file


def setting(default: Any, text: str, *, least: float | None = None, most: float | None = None, **more: Any) -> Any:
    """Declare a setting: its default, its help text, and the range of numbers it allows."""
    return field(default=default, metadata={"help": text, "least": least, "most": most, **more})


@dataclass(frozen=True)
class Config:
    """Everything that decides what a run computes. Names are those of the flags and of the TOML keys."""

    model: str = setting("lenet5", "network by name, or your own: FILE.py:FUNCTION or MODULE:FUNCTION", code=True)
    activation: str = setting("relu", "relu, tanh, sigmoid, leaky-relu, elu or scaled-tanh")
    pooling: str = setting("average", "average, max or trainable")
    init: str = setting("he", "initial weights: he, glorot, fan-in or normal")
    sigma: float = setting(0.1, "standard deviation for --init normal", least=0)

    epochs: int = setting(30, "passes over the training set", least=0)
    batch_size: int = setting(256, "images in the global batch of a step, over all shards", least=1)
    shards: int = setting(8, "fixed parts of the training set, at least as many as ranks", least=1)
    seed: int = setting(1, "of the initial weights, the order and the augmentation", least=0, most=2**63 - 1)
    validation: int = setting(-1, "images held back at the end of the training set (-1: the last twelfth)", least=-1)

    optimizer: str = setting(
        "nesterov", "sgd, momentum, nesterov, rmsprop, adam, levenberg-marquardt, or your own: FILE.py:CLASS", code=True
    )
    lr: float = setting(0.14, "peak learning rate", least=0)
    momentum: float = setting(0.9, "for momentum and nesterov", least=0, most=1)
    beta1: float = setting(0.9, "Adam's decay of the mean", least=0, most=0.999999)
    beta2: float = setting(0.999, "Adam's decay of the square", least=0, most=0.999999)
    rho: float = setting(0.9, "RMSProp's decay of the square", least=0, most=1)
    epsilon: float = setting(1e-8, "for rmsprop and adam", least=0)
    mu: float = setting(0.02, "for levenberg-marquardt: added to the curvature", least=1e-6)
    step_limit: float = setting(0.01, "for levenberg-marquardt: no parameter goes further in a step (0: any)", least=0)
    curvature_samples: int = setting(500, "for levenberg-marquardt: images the curvature is estimated on", least=1)
    rubbish: float = setting(10.0, "for lenet5-1998: distance of the rubbish class, j of its loss", least=0)
    weight_decay: float = setting(5e-4, "on weights, not on biases", least=0)
    clip: float = setting(1.0, "longest step: larger mean gradients are scaled down to this norm (0: never)", least=0)
    average: float = setting(
        0.0,
        "decay of an average of the parameters, which is evaluated in their place (0: none)",
        least=0,
        most=0.999999,
    )
    schedule: str = setting(
        "one-cycle",
        "learning rate: constant, step, inverse-time, cosine, one-cycle, published, or your own: FILE.py:FUNCTION",
        code=True,
    )
    warmup: float = setting(0.15, "share of the steps in which one-cycle or published rises", least=0, most=1)
    decay: float = setting(0.001, "of inverse-time: rate / (1 + decay * step)", least=0)

    augmentation: str = setting(
        "built-in", "the four settings that follow; before them your own, if you name it: FILE.py:FUNCTION", code=True
    )
    rotate: float = setting(12.0, "augmentation: rotation within +- this many degrees", least=0, most=180)
    shift: float = setting(2.0, "augmentation: shift within +- this many pixels", least=0)
    zoom: float = setting(0.15, "augmentation: zoom by a factor within 1 +- this", least=0, most=0.9)
    elastic: float = setting(
        0.0, "augmentation: smooth distortion by this many pixels, a standard deviation", least=0, most=99
    )

    on_divergence: str = setting(
        "heal",
        "when the loss stays at guessing, jumps up or is not finite: heal (go back, lower the rate), stop or ignore",
        choices=("heal", "stop", "ignore"),
    )
    max_heals: int = setting(3, "times that a run goes back before it stops", least=0)

    train_sample: int = setting(5000, "training images evaluated after each epoch (-1: all)", least=-1, math=False)
    test_curve: bool = setting(False, "record the test error after each epoch; nothing is chosen by it", math=False)
    memory_limit: int = setting(128, "MiB of training images a rank holds; more is streamed", least=0, math=False)

    def __post_init__(self) -> None:
        for item in fields(self):
            object.__setattr__(self, item.name, _checked(item, getattr(self, item.name)))
        if self.batch_size % self.shards:
            lower = self.batch_size // self.shards * self.shards
            fitting = [str(size) for size in (lower, lower + self.shards) if size]
            raise ConfigError(
                f"batch_size {self.batch_size} is not divisible by {self.shards} shards: every shard gives the same "
                f"number of images to a step; use {' or '.join(fitting)}, or other --shards"
            )

    @property
    def code(self) -> dict[str, str]:
        """The settings that name code of the user's own: {"model": "mynet.py:build"}."""
        return {name: getattr(self, name) for name in CODE if is_custom(getattr(self, name))}

    @property
    def ranges(self) -> dict[str, float]:
        """The settings of the built-in augmentation by name."""
        return {name: getattr(self, name) for name in ("rotate", "shift", "zoom", "elastic")}

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)

    def to_toml(self) -> str:
        """Return the settings as a TOML file that ``--config`` reads."""
        return "".join(f"{name} = {_toml(value)}\n" for name, value in self.to_dict().items())


CODE = tuple(item.name for item in fields(Config) if item.metadata.get("code"))  # settings that may name code

# The method of LeCun et al. 1998 (Proc. IEEE 86(11), section III and appendix C), on all 60,000 images, evaluated
# after the last step. What differs, and why; settled on the validation set:
# - 32 images a step, not one: ranks have something to share. lr is for the mean gradient of those: 5e-5 an image,
#   a tenth of the published 5e-4.
# - The rate first rises over a hundredth of the run, the curvature is estimated every 2,000 images of the first
#   pass, not only before it, and no parameter goes further than step_limit in a step. The curvature grows a
#   thousandfold in the first few thousand images: without the limit nothing is learned at all.
# - The rate falls in a straight line over 12 passes; "published" has the paper's own levels.
# - The paper does not say what j is, nor shows its output codes: 10, and pictures of our own.
LENET5_1998: dict[str, Any] = {
    **{"model": "lenet5-1998", "init": "fan-in", "epochs": 12, "batch_size": 32, "shards": 4, "validation": 0},
    **{"optimizer": "levenberg-marquardt", "lr": 0.0016, "schedule": "one-cycle", "warmup": 0.01},
    **{"weight_decay": 0.0, "clip": 0.0, "rotate": 0.0, "shift": 0.0, "zoom": 0.0},
}

RECIPES: dict[str, dict[str, Any]] = {
    # settled on the validation set, default shards and batch size
    "standard": {},
    # distortion, decay and average settled on the last 10,000 training images; then trained on all 60,000
    "best": {
        **{"epochs": 40, "batch_size": 128, "lr": 0.1, "validation": 0, "elastic": 1.0, "weight_decay": 2e-4},
        "average": 0.999,
    },
    "fast": {"epochs": 4, "rotate": 0.0, "shift": 0.0, "zoom": 0.0, "weight_decay": 1e-4},
    "lenet5-1998": LENET5_1998,
    "lenet5-1998-softmax": {**LENET5_1998, "model": "lenet5-1998-softmax"},
    "lenet5-1998-augmented": {**LENET5_1998, "epochs": 20, "rotate": 10.0, "shift": 1.5, "zoom": 0.12},
}


def build_config(
    recipe: str | None = None,
    file: str | Path | None = None,
    flags: Mapping[str, Any] | None = None,
    base: Mapping[str, Any] | None = None,
) -> Config:
    """Return the settings of ``recipe``, overridden by the TOML ``file``, overridden by ``flags``.

    Without ``recipe``, the file's key ``recipe`` names it; without that too it is "standard", or the
    settings ``base`` of a resumed run.

    Raises ConfigError naming the key, where it stands, and the nearest known name.
    """
    values = {} if file is None else _read_toml(Path(file))
    recipe = recipe or values.pop("recipe", None)
    values.pop("recipe", None)
    values |= flags or {}
    for name in CODE:
        if isinstance(values.get(name), str):
            try:
                values[name] = code_path(values[name])
            except ArgumentTypeError as error:
                raise ConfigError(f"{name} {error}") from error
    if recipe is None and base is not None:
        return Config(**{**base, **values})
    recipe = str(recipe or "standard")
    if recipe not in RECIPES:
        raise ConfigError(f"recipe {recipe!r} is unknown{nearest(recipe, RECIPES)}: one of {', '.join(RECIPES)}")
    return Config(**{**RECIPES[recipe], **values})


def check_ranks(config: Config, ranks: int) -> None:
    """Refuse more ranks than shards, by LaunchError: a rank without a shard would have nothing to do."""
    if ranks > config.shards:
        raise LaunchError(
            f"{ranks} ranks, but the training set is cut into {config.shards} shards: start at most "
            f"{config.shards} ranks, or set --shards {ranks} or more (which changes the results)"
        )


def changes(before: Config, after: Config) -> list[tuple[str, Any, Any, bool]]:
    """List the settings that differ: name, both values, and whether the setting decides the mathematics."""
    return [
        (item.name, getattr(before, item.name), getattr(after, item.name), item.metadata.get("math", True))
        for item in fields(Config)
        if getattr(before, item.name) != getattr(after, item.name)
    ]


def check_names(names: Iterable[str], where: str) -> None:
    """Raise ConfigError unless all ``names``, which stand in ``where``, are settings."""
    known = [item.name for item in fields(Config)]
    for name in names:
        if name not in known:
            raise ConfigError(f"{name!r} in {where} is no setting{nearest(name, known)}")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        read = parse_toml(read_text(path, LARGEST_FILE))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    names = [item.name for item in fields(Config)] + ["recipe"]
    values = {}
    for key, value in read.items():
        name = key.replace("-", "_")
        if name not in names:
            raise ConfigError(f"unknown key {key!r} in {path}{nearest(name, names)}")
        values[name] = value
    return values


def _checked(item: Any, value: Any) -> Any:
    """Return ``value`` as the type of the setting, within its range; raise ConfigError otherwise."""
    if type(value) is int and abs(value) >= 2**63:
        raise ConfigError(f"{item.name} is {str(value)[:40]}, expected a number of at most 19 digits")
    if item.type is float and type(value) is int:
        value = float(value)
    if type(value) is not item.type:
        raise ConfigError(f"{item.name} is {value!r}, expected {_KINDS[item.type]}")
    choices = item.metadata.get("choices")
    if choices and value not in choices:
        raise ConfigError(f"{item.name} is {value!r}, expected {' or '.join(choices)}{nearest(value, choices)}")
    least, most = item.metadata["least"], item.metadata["most"]
    if item.type in (int, float):
        inside = (least is None or value >= least) and (most is None or value <= most)
        if not inside or not isfinite(value):
            limits = (
                "a finite number of " * (not isfinite(value))
                + f"at least {least}"
                + (f" and at most {most}" if most is not None else "")
            )
            raise ConfigError(f"{item.name} is {value!r}, expected {limits}")
    return value


_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
