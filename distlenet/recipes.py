"""Where a run's settings come from: a recipe, a TOML file and flags, each overriding the one before."""

from argparse import ArgumentTypeError
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from distlenet.bounded import parse_toml, read_text
from distlenet.config import CODE, Config
from distlenet.errors import ConfigError, nearest
from distlenet.paths import code_path

LARGEST_FILE = 2**16  # bytes of a TOML file

# The method of LeCun et al. 1998 (Proc. IEEE 86(11), section III and appendix C), on all 60,000 images, evaluated
# after the last step. It differs in these points; all numbers were chosen on the validation set:
# - 32 images per step, not one, so that ranks can share a step. lr applies to their mean gradient: 5e-5 per image, a
#   tenth of the published 5e-4.
# - The rate first rises over a hundredth of the run. The curvature is estimated every 2,000 images of the first pass,
#   not only before it. No parameter moves further than step_limit in a step. The curvature grows a thousandfold in
#   the first few thousand images: without the limit the network learns nothing.
# - The rate falls linearly over 12 passes; "published" has the paper's own levels.
# - The paper gives neither j nor its output codes: j is 10, the codes are our own bitmaps.
LENET5_1998: dict[str, Any] = {
    **{"model": "lenet5-1998", "init": "fan-in", "epochs": 12, "batch_size": 32, "shards": 4, "validation": 0},
    **{"optimizer": "levenberg-marquardt", "lr": 0.0016, "schedule": "one-cycle", "warmup": 0.01},
    **{"weight_decay": 0.0, "clip": 0.0, "rotate": 0.0, "shift": 0.0, "zoom": 0.0},
}

RECIPES: dict[str, dict[str, Any]] = {
    # chosen on the validation set, with the default shards and batch size
    "standard": {},
    # distortion, decay and average were chosen on the last 10,000 training images; it trains on all 60,000
    "best": {
        **{"epochs": 40, "batch_size": 128, "lr": 0.1, "validation": 0, "elastic": 1.0, "weight_decay": 2e-4},
        "average": 0.999,
    },
    # of the packaged network, for photographs: disturbances, on MNIST and drawn forms; share of disturbed leaves and
    # rate were chosen on the last twelfth of its training images, undisturbed and under those of corruptions.py
    "reality": {
        **{"epochs": 40, "validation": 0, "shift": 1.0, "elastic": 1.0, "disturb": 0.65, "average": 0.999},
        **{"optimizer": "muon", "lr": 0.015, "momentum": 0.9, "weight_decay": 0.0, "numerics": "portable"},
    },
    "fast": {"epochs": 4, "rotate": 0.0, "shift": 0.0, "zoom": 0.0, "weight_decay": 1e-4},
    # one pass over 48,000 images; chosen on the last 10,000 training images
    "sprint": {
        **{"epochs": 1, "validation": 12000, "rotate": 0.0, "shift": 0.0, "zoom": 0.0, "optimizer": "muon"},
        **{"lr": 0.08, "momentum": 0.8, "label_smoothing": 0.1, "weight_decay": 0.0},
    },
    # for up to 64 ranks; rate and warm-up were chosen on the validation set, from Nesterov and Adam at other rates
    "many-ranks": {"shards": 64, "batch_size": 2048, "lr": 0.8, "warmup": 0.3},
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

    Raises ConfigError naming the key, its location, and the nearest known name.
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
