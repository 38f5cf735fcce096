"""The items of ``distlenet compare``, one word each:

fast                        a recipe
conv8-conv8                 a model, or a user-defined FILE.py:FUNCTION, trained with the base recipe
activations                 a group of several items
lr=0.05,optimizer=sgd       settings on top of the base recipe
slow:lr=0.05                the same, with a name
mine:recipe=fast,lr=0.05    on top of another recipe
"""

from dataclasses import dataclass, field, fields
from typing import Any

from distlenet.config import Config
from distlenet.errors import UsageError, nearest
from distlenet.nn import MODELS
from distlenet.recipes import RECIPES


@dataclass(frozen=True)
class Item:
    """One row of the comparison: ``settings`` on top of ``recipe`` (None: the base recipe)."""

    label: str
    recipe: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def of_model(name: str) -> Item:
    """Return the item of a model; it uses the recipe of the same name, if any."""
    return Item(name, name if name in RECIPES else None, {"model": name})


# Saturating activations need other initial weights, and adaptive optimizers other rates: each gets suitable settings.
GROUPS: dict[str, list[Item]] = {
    "activations": [
        Item("relu", None, {"activation": "relu"}),
        Item("leaky-relu", None, {"activation": "leaky-relu"}),
        Item("elu", None, {"activation": "elu"}),
        Item("tanh", None, {"activation": "tanh", "init": "glorot"}),
        Item("scaled-tanh", None, {"activation": "scaled-tanh", "init": "glorot"}),
        Item("sigmoid", None, {"activation": "sigmoid", "init": "normal", "sigma": 0.3}),
    ],
    "poolings": [Item(name, None, {"pooling": name}) for name in ("average", "max", "trainable")],
    "models": [of_model(name) for name in MODELS],
    "optimizers": [
        Item("sgd", None, {"optimizer": "sgd", "lr": 0.5}),
        Item("momentum", None, {"optimizer": "momentum"}),
        Item("nesterov", None, {"optimizer": "nesterov"}),
        Item("rmsprop", None, {"optimizer": "rmsprop", "lr": 0.002}),
        Item("adam", None, {"optimizer": "adam", "lr": 0.005}),
        Item("muon", None, {"optimizer": "muon", "lr": 0.03}),
        Item("levenberg-marquardt", None, {"optimizer": "levenberg-marquardt", "lr": 0.0128, "clip": 0.0}),
    ],
    "outputs": [Item("rbf", "lenet5-1998"), Item("softmax", "lenet5-1998-softmax")],
}


def parse_items(words: list[str]) -> list[Item]:
    """Return the items named by ``words``, in order; raises UsageError."""
    items = [item for word in words for item in _parse(word)]
    for place, item in enumerate(items):
        if any(item.label == other.label for other in items[:place]):
            raise UsageError(f"two items are called {item.label!r}: give one of them a name, NAME:key=value,...")
    return items


def _parse(word: str) -> list[Item]:
    if word in GROUPS:
        return GROUPS[word]
    if word in RECIPES:
        return [Item(word, word)]
    if word in MODELS:
        return [of_model(word)]
    label, colon, text = word.partition(":")
    if colon and "=" not in word:  # user-defined code
        return [of_model(word)]
    if not colon or "=" in label:  # without a name, the settings serve as the name
        label, text = word, word
    if "=" not in text:
        raise UsageError(
            f"item {word!r} is unknown{nearest(word, [*GROUPS, *RECIPES, *MODELS])}: expected a recipe, a model, a "
            f"group ({', '.join(GROUPS)}) or settings like NAME:lr=0.05,activation=tanh"
        )
    settings = dict(_setting(part, word) for part in text.split(","))
    return [Item(label, settings.pop("recipe", None), settings)]


def _setting(part: str, word: str) -> tuple[str, Any]:
    """Return name and value of ``part``, "lr=0.05"."""
    key, equals, text = part.partition("=")
    name = key.strip().replace("-", "_")
    kinds: dict[str, Any] = {item.name: item.type for item in fields(Config)} | {"recipe": str}
    if not equals or name not in kinds or name == "seed":
        why = "the seeds are given by --seed and --seeds" if name == "seed" else f"no setting{nearest(name, kinds)}"
        if name in kinds and not equals:
            why = f"its value is missing: {key}=VALUE"
        raise UsageError(f"{part!r} in item {word!r}: {why}")
    kind, text = kinds[name], text.strip()
    try:
        return name, {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        expected = {int: "a whole number", float: "a number", bool: "true or false"}[kind]
        raise UsageError(f"{name} in item {word!r} is {text!r}, expected {expected}") from None
