"""Checkpoint files: HDF5, written whole or not at all, and verified when they are read.

    import h5py
    with h5py.File("runs/a/checkpoints/last.h5") as file:
        theta, c1 = file["theta"][:], file["parameters/C1/W"][:]

``/theta`` is the flat parameter vector, ``/parameters/<layer>/<W|b>`` the same by name and shape,
``/optimizer/<name>`` the optimizer's vectors, ``/best/theta`` the parameters of the best epoch so far.
``/good/...`` is the like of a state to go back to if the run diverges, where it is not the state itself.
``/meta`` is JSON: position, configuration, history, dataset, numerics, health. The attribute ``sha256`` holds the
checksum of every array.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from math import isfinite
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from distlenet.activity import advance
from distlenet.config import Config
from distlenet.data.atomic import replacing
from distlenet.data.digitblocks import LARGEST_SIDE
from distlenet.errors import CheckpointError, NewerFormatError
from distlenet.training.checkpoint import Checkpoint, DatasetFacts, list_layers
from distlenet.training.divergence import LossWatch
from distlenet.training.numerics import numerics
from distlenet.training.state import Running, TrainState

FORMAT = 1
PIECE = 2**26  # bytes that are written, and waited for, at a time
LARGEST = 2**30  # bytes; a checkpoint of this program is far smaller


def write_checkpoint(
    path: Path,
    state: TrainState,
    config: Config,
    dataset: DatasetFacts,
    make_way: Callable[[], None] = lambda: None,
) -> None:
    """Write ``state`` to ``path``: whole, or not at all. Raises OSError (a full disk, no permission).

    ``make_way`` is called when all is on the disk, just before the file takes its name.
    """
    write_image(path, checkpoint_image(state, config, dataset), make_way)


def checkpoint_image(state: TrainState, config: Config, dataset: DatasetFacts) -> bytes:
    """Return the bytes of the checkpoint file of ``state``.

    The file is laid out in memory first: HDF5 itself does not take a full disk gracefully.
    """
    arrays = {"theta": state.net.theta}
    arrays |= {f"parameters/{name}": parameter.value for name, parameter in state.net.parameters.items()}
    arrays |= {f"optimizer/{name}": vector for name, vector in state.optimizer.state.items()}
    if state.best_theta is not None:
        arrays["best/theta"] = state.best_theta
    elsewhere = not state.good.is_of(state)
    if elsewhere:
        arrays |= {f"good/{name}": vector for name, vector in state.good.vectors.items()}
    meta = {
        "position": {
            "epoch": state.epoch,
            "step": state.step,
            "steps": state.steps,
            "running": asdict(state.running),
        },
        "best": {"accuracy": state.best_accuracy, "epoch": state.best_epoch},
        "config": config.to_dict(),
        "dataset": asdict(dataset),
        "numerics": numerics(),
        "layers": list_layers(state.net),
        "history": state.history,
        "health": {
            "factor": state.factor,
            "divergences": state.divergences,
            "watch": asdict(state.watch),
            "good": state.good.place if elsewhere else None,
        },
    }
    return lay_out(arrays, json.dumps(meta))


def write_image(path: Path, image: bytes, make_way: Callable[[], None] = lambda: None) -> None:
    """Write the bytes of a checkpoint file: whole, or not at all; see write_checkpoint."""
    # a link among the checkpoints is renamed with the age of what it leads to: it is not written through
    with replacing(path, follow_links=False) as temporary, temporary.open("wb") as file:
        for start in range(0, len(image), PIECE):  # a disk that fails does so here, with the older files in place
            file.write(memoryview(image)[start : start + PIECE])
            file.flush()
            os.fsync(file.fileno())
            advance()
        make_way()


def lay_out(arrays: dict[str, np.ndarray], meta: str) -> bytes:
    """Return the bytes of a checkpoint file of ``arrays``, by name, and of ``meta``, as JSON."""
    with h5py.File("checkpoint", "w", driver="core", backing_store=False, libver="latest") as file:
        sums = {"meta": hashlib.sha256(meta.encode()).hexdigest()}
        for name, array in arrays.items():
            file.create_dataset(name, data=np.ascontiguousarray(array, "<f4"))
            sums[name] = _sum(array)
            advance()
        file.attrs["format"] = FORMAT
        file.create_dataset("meta", data=np.frombuffer(meta.encode(), np.uint8))
        file.attrs["sha256"] = json.dumps(sums)
        file.flush()
        return file.id.get_file_image()


def _sum(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, "<f4")).hexdigest()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read ``path`` and verify every checksum; raises CheckpointError in one sentence, whatever is wrong.

    NewerFormatError, which is one, where the file is of a format that a newer version writes.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise CheckpointError(f"{path} is a directory, expected a checkpoint file")
        size = path.stat().st_size
        if size > LARGEST:
            raise CheckpointError(f"{path} has {size:,} bytes, more than any checkpoint: it is another kind of file")
        with h5py.File(path, "r", locking="best-effort") as file:
            return _read(path, file, size)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except CheckpointError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is not a readable checkpoint ({reason})") from error


def _read(path: Path, file: h5py.File, size: int) -> Checkpoint:
    version = file.attrs.get("format")
    if version is None or "theta" not in file:
        raise CheckpointError(f"{path} is an HDF5 file, but not a checkpoint of this program")
    if version > FORMAT:
        raise NewerFormatError(
            f"{path} has checkpoint format {version}, this version reads format {FORMAT}: use the version that wrote "
            "it, or name an older checkpoint"
        )
    if version != FORMAT:
        raise CheckpointError(f"{path} has checkpoint format {version}, this version reads format {FORMAT}")
    sums = json.loads(file.attrs["sha256"])

    def array(name: str) -> np.ndarray:
        link = file.get(name, getlink=True)
        dataset = file.get(name)
        if not isinstance(link, h5py.HardLink) or not isinstance(dataset, h5py.Dataset):
            raise CheckpointError(f"{path}: /{name} is missing or is a link, expected an array")
        if dataset.is_virtual or dataset.external or dataset.size * dataset.dtype.itemsize > size:
            raise CheckpointError(f"{path}: /{name} claims more than the file holds")
        return dataset[...]

    meta = array("meta").tobytes()
    _check(path, "meta", hashlib.sha256(meta).hexdigest(), sums)
    arrays = {}
    for name in sums:
        if name != "meta":
            arrays[name] = array(name)
            _check(path, name, _sum(arrays[name]), sums)
    optimizer = {name.removeprefix("optimizer/"): a for name, a in arrays.items() if name.startswith("optimizer/")}
    good = {name.removeprefix("good/"): a for name, a in arrays.items() if name.startswith("good/")}
    facts = {"health": None, **json.loads(meta)}
    for name, sensible in SENSIBLE.items():
        if not sensible(facts[name]):
            raise CheckpointError(f"{path}: its {name} makes no sense: {str(facts[name])[:200]}")
    return Checkpoint(path, arrays["theta"], optimizer, arrays.get("best/theta"), facts, good)


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


# What /meta must be, beyond its checksum, which anybody can compute.
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


def _check(path: Path, name: str, found: str, sums: dict[str, str]) -> None:
    if sums[name] != found:
        raise CheckpointError(f"{path} is damaged: /{name} does not match its SHA-256")
