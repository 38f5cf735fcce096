"""What /meta of a checkpoint must be, beyond its checksum, which anybody can compute."""

from collections.abc import Callable
from dataclasses import asdict, fields
from math import isfinite
from pathlib import Path
from typing import Any

from distlenet.bounded import MIB, parse_json
from distlenet.data.digitblocks import LARGEST_SIDE
from distlenet.errors import CheckpointError
from distlenet.training.checkpoint import DatasetFacts
from distlenet.training.divergence import LossWatch
from distlenet.training.state import Running

LARGEST_META = 32 * MIB  # bytes: the history of some 70,000 epochs


def parse_meta(path: Path, text: bytes) -> dict[str, Any]:
    """Return the facts of ``text``, the JSON of /meta; raises CheckpointError, ValueError, KeyError, TypeError."""
    facts = {"health": None, "code": None, **parse_json(text)}
    for name, sensible in SENSIBLE.items():
        if not sensible(facts[name]):
            raise CheckpointError(f"{path}: its {name} makes no sense: {str(facts[name])[:200]}")
    return facts


def _is_place(place: dict[str, Any]) -> bool:
    epoch, step, steps = (place[name] for name in ("epoch", "step", "steps"))
    running = Running(**place["running"])
    return (
        all(type(count) is int and count >= 0 for count in (epoch, step, steps))
        and epoch + step <= steps < 2**63  # an epoch has one step at least
        and all(type(value) in (int, float) and isfinite(value) for value in asdict(running).values())
        and (running.count > 0 or step == 0)
    )


def _is_history(history: list[dict[str, Any]]) -> bool:
    return type(history) is list and all(
        type(entry) is dict and type(entry["epoch"]) is type(entry["step"]) is int for entry in history
    )


def _is_watch(watch: dict[str, Any]) -> bool:
    return all(type(value) in (int, float, type(None)) for value in asdict(LossWatch(**watch)).values())


SENSIBLE: dict[str, Callable[[Any], bool]] = {
    "position": _is_place,
    "best": lambda best: (
        best["accuracy"] is best["epoch"] is None
        or (type(best["epoch"]) is int and 0 <= best["accuracy"] <= 1 <= 1 + best["epoch"])
    ),
    "config": lambda config: type(config) is dict,
    "dataset": lambda facts: (
        {field.name for field in fields(DatasetFacts)} == set(facts)
        and len(facts["image_shape"]) == 2
        and all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in facts["image_shape"])
        and 2 <= len(facts["class_names"]) <= 256
        and all(type(name) is str for name in (*facts["class_names"], facts["name"], facts["fingerprint"]))
        and 0 <= facts["mean"] <= 1
        and 0 < facts["std"] <= 1
    ),
    "code": lambda found: found is None or (type(found) is str and len(found) == 64 and found.isalnum()),
    "numerics": lambda found: type(found) is dict,
    "history": _is_history,
    "health": lambda health: (
        health is None
        or (
            0 < health["factor"] <= 1
            and type(health["divergences"]) is list
            and _is_watch(health["watch"])
            and (
                health["good"] is None
                or (
                    _is_place(health["good"])
                    and _is_watch(health["good"]["watch"])
                    and len(health["good"]["best"]) == 2
                )
            )
        )
    ),
}
