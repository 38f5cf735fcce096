"""Settings of a run: one flat, frozen dataclass."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from typing import Any

from distlenet.errors import ConfigError, LaunchError, nearest
from distlenet.paths import is_custom

SMALL_LEAF = 8  # images of a shard in a step that are still computed fast


GROUPS = ("run", "data and augmentation", "network", "optimizer and schedule", "faults")  # of options, in the help
RUN, DATA, NETWORK, RULES, FAULTS = GROUPS


def setting(
    group: str, default: Any, text: str, *, least: float | None = None, most: float | None = None, **more: Any
) -> Any:
    """Declare a setting: its group and text in the help, its default, and the range of numbers it allows.

    ``more``: ``names`` known, of which ``choices`` are the only ones; ``code``: the kind of user code that it may name
    instead; ``math``: False if it does not change what a run computes.
    """
    return field(default=default, metadata={"group": group, "help": text, "least": least, "most": most, **more})


MODELS = (
    *("lenet5", "lenet5-1998", "lenet5-1998-softmax", "feed-forward", "single-conv", "single-conv-pool"),
    *("double-conv", "lenet5-deeper", "conv8-conv8"),
)
NUMERICS = ("native", "portable")
ACTIVATIONS = ("relu", "tanh", "sigmoid", "leaky-relu", "elu", "scaled-tanh")
OPTIMIZERS = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "muon", "levenberg-marquardt")
SCHEDULES = ("constant", "step", "inverse-time", "cosine", "one-cycle", "published")


@dataclass(frozen=True)
class Config:
    """Everything that decides what a run computes. Names are those of the flags and of the TOML keys."""

    epochs: int = setting(RUN, 30, "passes over the training set", least=0)
    batch_size: int = setting(RUN, 256, "images in the global batch of a step, over all shards", least=1)
    shards: int = setting(RUN, 8, "fixed parts of the training set, at least as many as ranks", least=1)
    seed: int = setting(RUN, 1, "seed of initial weights, order and augmentation", least=0, most=2**63 - 1)
    numerics: str = setting(
        RUN,
        "native",
        "native: fastest, the same bits on equal machines; portable: the same bits on every machine",
        names=NUMERICS,
        choices=NUMERICS,
    )

    validation: int = setting(
        DATA, -1, "images held back at the end of the training set (-1: the last twelfth)", least=-1
    )
    augmentation: str = setting(
        DATA, "built-in", "built-in: the four below; your own, FILE.py:FUNCTION, comes before them", code="FUNCTION"
    )
    rotate: float = setting(DATA, 12.0, "rotation within +- this many degrees", least=0, most=180)
    shift: float = setting(DATA, 2.0, "shift within +- this many pixels", least=0)
    zoom: float = setting(DATA, 0.15, "zoom by a factor within 1 +- this", least=0, most=0.9)
    elastic: float = setting(DATA, 0.0, "smooth distortion: its standard deviation in pixels", least=0, most=99)
    disturb: float = setting(
        DATA, 0.0, "share of the leaves disturbed by noise, blur, lines, fog, large moves ...", least=0, most=1
    )
    train_sample: int = setting(
        DATA, 5000, "training images evaluated after each epoch (-1: all)", least=-1, math=False
    )
    test_curve: bool = setting(
        DATA, False, "record the test error after each epoch; nothing is chosen by it", math=False
    )
    memory_limit: int = setting(DATA, 128, "MiB of training images per rank; more is streamed", least=0, math=False)

    model: str = setting(NETWORK, "lenet5", "network", names=MODELS, code="FUNCTION")
    activation: str = setting(NETWORK, "relu", "activation", names=ACTIVATIONS)
    pooling: str = setting(NETWORK, "average", "pooling", names=("average", "max", "trainable"))
    init: str = setting(
        NETWORK,
        "he",
        "initial weights; a checkpoint, FILE.h5: its parameters",
        names=("he", "glorot", "fan-in", "normal"),
    )
    sigma: float = setting(NETWORK, 0.1, "standard deviation, for --init normal", least=0)
    rubbish: float = setting(NETWORK, 10.0, "for lenet5-1998: distance of the rubbish class, j of its loss", least=0)

    optimizer: str = setting(RULES, "nesterov", "optimizer", names=OPTIMIZERS, code="CLASS")
    lr: float = setting(RULES, 0.14, "peak learning rate", least=0)
    schedule: str = setting(RULES, "one-cycle", "learning rate over the steps", names=SCHEDULES, code="FUNCTION")
    label_smoothing: float = setting(
        RULES, 0.0, "share of each training label that is spread over all classes", least=0, most=0.999
    )
    weight_decay: float = setting(RULES, 5e-4, "decay of weights, not of biases", least=0)
    clip: float = setting(RULES, 1.0, "largest norm of the mean gradient; above it, scale down (0: never)", least=0)
    average: float = setting(
        RULES, 0.0, "decay of an average of the parameters, evaluated instead (0: none)", least=0, most=0.999999
    )
    warmup: float = setting(
        RULES, 0.15, "for one-cycle and published: share of the steps in which the rate rises", least=0, most=1
    )
    decay: float = setting(RULES, 0.001, "for inverse-time: the rate is lr / (1 + decay * step)", least=0)
    momentum: float = setting(RULES, 0.9, "for momentum, nesterov and muon", least=0, most=1)
    beta1: float = setting(RULES, 0.9, "for adam: decay of the mean", least=0, most=0.999999)
    beta2: float = setting(RULES, 0.999, "for adam: decay of the square", least=0, most=0.999999)
    rho: float = setting(RULES, 0.9, "for rmsprop: decay of the square", least=0, most=1)
    epsilon: float = setting(RULES, 1e-8, "for rmsprop and adam: added to the root", least=0)
    mu: float = setting(RULES, 0.02, "for levenberg-marquardt: added to the curvature", least=1e-6)
    step_limit: float = setting(
        RULES, 0.01, "for levenberg-marquardt: largest change of a parameter in a step (0: any)", least=0
    )
    curvature_samples: int = setting(
        RULES, 500, "for levenberg-marquardt: images that the curvature is estimated on", least=1
    )

    on_divergence: str = setting(
        FAULTS,
        "heal",
        "if the loss stays at chance, jumps up or is not finite: heal (go back, lower the rate), stop or ignore",
        names=("heal", "stop", "ignore"),
        choices=("heal", "stop", "ignore"),
    )
    max_heals: int = setting(FAULTS, 3, "how often a run may go back before it stops", least=0)

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
        """The settings that name user code: {"model": "mynet.py:build"}."""
        return {name: getattr(self, name) for name in CODE if is_custom(getattr(self, name))}

    @property
    def ranges(self) -> dict[str, float]:
        """The settings of the built-in augmentation by name."""
        return {name: getattr(self, name) for name in ("rotate", "shift", "zoom", "elastic", "disturb")}

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)

    def to_toml(self) -> str:
        """Return the settings as a TOML file that ``--config`` reads."""
        return "".join(f"{name} = {_toml(value)}\n" for name, value in self.to_dict().items())


CODE = tuple(item.name for item in fields(Config) if item.metadata.get("code"))  # settings that may name code


def check_ranks(config: Config, ranks: int, resumed: bool = False) -> None:
    """Raise LaunchError if there are more ranks than shards: a rank without a shard would have nothing to do.

    It names settings that fit: a shard for each rank, and the next larger batch that the shards divide. A shard gives
    at least SMALL_LEAF images to a step, unless it gave fewer before: smaller leaves are slow. A ``resumed`` run keeps
    its shards.
    """
    if ranks <= config.shards:
        return
    leaf = max(min(SMALL_LEAF, config.batch_size // config.shards), -(-config.batch_size // ranks))
    fitting = f"or give --shards {ranks} --batch-size {ranks * leaf}, which changes the results"
    raise LaunchError(
        f"{ranks} ranks, but the training set is cut into {config.shards} shards: start at most {config.shards} ranks, "
        + ("because a resumed run keeps its shards" if resumed else fitting)
    )


def changes(before: Config, after: Config) -> list[tuple[str, Any, Any, bool]]:
    """List the settings that differ: name, both values, and whether the setting decides the mathematics."""
    return [
        (item.name, getattr(before, item.name), getattr(after, item.name), item.metadata.get("math", True))
        for item in fields(Config)
        if getattr(before, item.name) != getattr(after, item.name)
    ]


def check_names(names: Iterable[str], where: str) -> None:
    """Raise ConfigError unless all ``names``, found in ``where``, are settings."""
    known = [item.name for item in fields(Config)]
    for name in names:
        if name not in known:
            raise ConfigError(f"{name!r} in {where} is not a setting{nearest(name, known)}")


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
