"""Checkpoint files for tests: states to write, a full disk, and files with valid checksums but invalid contents."""

import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from distlenet.config import Config
from distlenet.data.slices import DatasetFacts
from distlenet.nn import input_statistics
from distlenet.runs.checkpoint import Checkpoint
from distlenet.runs.checkpoint_file import read_checkpoint, write_checkpoint
from distlenet.runs.experiment import make_state
from distlenet.training.state import TrainState

FACTS = DatasetFacts("drawn", "ab" * 32, (28, 28), tuple("0123456789"), 0.13, 0.31)


def new_state(pixels: int = 28, **settings: Any) -> TrainState:
    """Return the state of a LeNet-5 before its first step, with plain SGD unless ``settings`` say otherwise."""
    config = Config(**{"optimizer": "sgd", "weight_decay": 0.0, "clip": 0.0, **settings})
    return make_state(config, replace(FACTS, image_shape=(pixels, pixels)))


def untrained(path: Path, shape: tuple[int, int] = (28, 28), noise: float = 0.0, **settings: Any) -> Checkpoint:
    """Return the checkpoint of an untrained network, written to ``path``, with ``noise`` added to its weights."""
    config = Config(**settings)
    facts = DatasetFacts("drawn", "", shape, tuple("0123456789"), *input_statistics(config.model, 0.1307, 0.3081))
    state = make_state(config, facts)
    state.net.theta += noise * np.random.default_rng(1).standard_normal(state.net.theta.shape, np.float32)
    write_checkpoint(path, state, config, facts)
    return read_checkpoint(path)


def no_room(*_: object) -> None:
    """Replaces a call that writes: the disk is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


Change = Callable[[h5py.File, dict[str, Any]], object]  # of a file and of its list of checksums


def change(path: Path, how: Change) -> Path:
    """Change the checkpoint ``path`` by ``how(file, sums)``."""
    with h5py.File(path, "r+") as file:
        sums = json.loads(file.attrs["sha256"])
        how(file, sums)
        if "sha256" in file.attrs:
            file.attrs["sha256"] = json.dumps(sums)
    return path


def put(name: str, array: np.ndarray) -> Change:
    """Return the change that replaces the array ``name`` by ``array``, with the right checksum."""

    def how(file: h5py.File, sums: dict[str, Any]) -> None:
        if name in file:
            del file[name]
        file[name] = array
        sums[name] = hashlib.sha256(np.ascontiguousarray(array)).hexdigest()

    return how


def rewrite(path: Path, image: bytes, meta: dict[str, Any] | str | None = None, **attributes: object) -> None:
    """Write a checkpoint, ``image`` with another ``meta``: its checksums are valid, its contents are not."""
    path.write_bytes(image)
    if meta is not None:
        text = meta if isinstance(meta, str) else json.dumps(meta)
        change(path, put("meta", np.frombuffer(text.encode(), np.uint8)))
    change(path, lambda file, sums: file.attrs.update(attributes))
