"""Checkpoint files: HDF5, written whole or not at all, and verified when they are read.

    import h5py
    with h5py.File("runs/a/checkpoints/last.h5") as file:
        theta, c1 = file["theta"][:], file["parameters/C1/W"][:]

``/theta`` is the flat parameter vector; ``/parameters/<layer>/<W|b>`` holds the same numbers by name and shape.
``/optimizer/<name>`` are the optimizer's vectors, ``/best/theta`` the parameters of the best epoch so far.
``/good/...`` holds the same vectors of the good state to go back to, if it differs from the current one. ``/meta`` is
JSON: the progress of both states (position, history, ...), configuration, dataset, numerics, layers. The attribute
``sha256`` holds the checksum of every array. Files of format 1 are converted when they are read.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from math import log
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from distlenet.activity import advance, phase
from distlenet.atomic import replacing
from distlenet.bounded import parse_json
from distlenet.config import Config
from distlenet.data.file.hdf5 import NotHDF5Error, attribute, hdf5_to, missing_or_linked, open_hdf5
from distlenet.data.slices import DatasetFacts
from distlenet.errors import CheckpointError, DistlenetError, NewerFormatError
from distlenet.nn import list_layers
from distlenet.numerics import numerics
from distlenet.runs.checkpoint import Checkpoint
from distlenet.runs.checkpoint_arrays import CheckpointArrays
from distlenet.training.state import Snapshot, TrainState
from distlenet.trust import NOTHING, Trust

FORMAT = 2
PIECE = 2**26  # bytes that are written and flushed to the disk at a time
UNREADABLE = (OSError, LookupError, ValueError, TypeError, RuntimeError, AttributeError, ArithmeticError, MemoryError)


@phase("writing a checkpoint")
def write_checkpoint(
    path: Path,
    state: TrainState,
    config: Config,
    dataset: DatasetFacts,
    make_way: Callable[[], None] = lambda: None,
) -> None:
    """Write ``state`` to ``path`` as a whole, or not at all. Raises OSError (a full disk, no permission).

    ``make_way`` is called after all bytes are on the disk, just before the file is renamed to ``path``.
    """
    write_image(path, checkpoint_image(state, config, dataset), make_way)


def checkpoint_image(state: TrainState, config: Config, dataset: DatasetFacts) -> bytes:
    """Return the bytes of the checkpoint file of ``state``.

    The file is built in memory first, because HDF5 does not handle a full disk gracefully.
    """
    meta = {
        "config": config.to_dict(),
        "dataset": asdict(dataset),
        "numerics": numerics(config.numerics),
        "layers": list_layers(state.net),
        "code": state.code,
    }
    now, *good = state.moments()
    checkpoint = Checkpoint(Path(), meta, now, good[0] if good else None)
    arrays = checkpoint.now.vectors
    arrays |= {f"parameters/{name}": parameter.value for name, parameter in state.net.parameters.items()}
    if checkpoint.good:
        arrays |= {f"good/{name}": vector for name, vector in checkpoint.good.vectors.items()}
    return lay_out(arrays, json.dumps(checkpoint.facts()))


def write_image(path: Path, image: bytes, make_way: Callable[[], None] = lambda: None) -> None:
    """Write the bytes of a checkpoint file as a whole, or not at all; see write_checkpoint."""
    # replaces a symbolic link instead of writing through it
    with replacing(path) as temporary, temporary.open("wb") as file:
        for start in range(0, len(image), PIECE):  # if the disk fails here, the older files are still in place
            file.write(memoryview(image)[start : start + PIECE])
            file.flush()
            os.fsync(file.fileno())
            advance()
        make_way()


def lay_out(arrays: dict[str, np.ndarray], meta: str) -> bytes:
    """Return the bytes of a checkpoint file with ``arrays`` by name and the JSON ``meta``."""
    image = io.BytesIO()
    with hdf5_to(image, "latest") as (file, _):
        sums = {"meta": hashlib.sha256(meta.encode()).hexdigest()}
        for name, array in arrays.items():
            array = np.ascontiguousarray(array, "<f4")
            file.create_dataset(name, data=array)
            sums[name] = hashlib.sha256(array.data).hexdigest()
            advance()
        file.attrs["format"] = FORMAT
        file.create_dataset("meta", data=np.frombuffer(meta.encode(), np.uint8))
        file.attrs["sha256"] = json.dumps(sums)
    return image.getvalue()


def read_checkpoint(path: Path, trust: Trust | None = None, mapped: bool = False) -> Checkpoint:
    """Read ``path`` and verify every checksum; raises CheckpointError with one sentence, whatever is wrong.

    A file of a newer format raises NewerFormatError, a subclass. If ``trust`` is given and does not admit the network's
    code, raises UntrustedCodeError before anything large is read. ``mapped`` arrays are memory maps, so that a
    checkpoint of any size can be inspected.
    """
    with _opened(path, trust) as (checkpoint, arrays):
        arrays.check()
        vectors = {name: arrays.read(name, mapped) for name in arrays.vectors}
        arrays.verify_parameters(vectors["theta"])
        own = {name: vector for name, vector in vectors.items() if not name.startswith("good/")}
        kept = {name.removeprefix("good/"): vector for name, vector in vectors.items() if name.startswith("good/")}
        good = Snapshot(checkpoint.good.progress, kept) if checkpoint.good else None
        return replace(checkpoint, now=Snapshot(checkpoint.progress, own), good=good, shapes=arrays.shapes)


def read_order(path: Path) -> tuple[int, int, int]:
    """Return the checkpoint's sort key, see Progress.order. Verifies the whole file without keeping it in memory.

    Raises CheckpointError like ``read_checkpoint``.
    """
    with _opened(path) as (checkpoint, arrays):
        arrays.check()
        for name in arrays.vectors:
            arrays.verify(name)
        arrays.verify_parameters()
        return checkpoint.progress.order


@contextmanager
def _opened(path: Path, trust: Trust | None = None) -> Iterator[tuple[Checkpoint, CheckpointArrays]]:
    """Open ``path`` and yield the checkpoint without vectors, and its arrays; any fault becomes a CheckpointError.

    If ``trust`` is given and does not admit the network's code, raises UntrustedCodeError.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise CheckpointError(f"{path} is a directory, expected a checkpoint file")
        with open_hdf5(path) as file:
            version = _check_format(path, file)
            arrays = CheckpointArrays(path, file)
            try:
                facts = parse_json(arrays.meta)
                facts = upgraded(facts) if version == 1 else facts
                checkpoint = Checkpoint.of(path, facts, trust or NOTHING)
            except Exception:
                arrays.check_meta()  # if the file is damaged, report that instead
                raise
            if trust:
                checkpoint.admit()
            expected = checkpoint.expected_size()
            if expected not in (None, arrays.size):
                text = f"{path} has {arrays.size} parameters, expected {expected} for {checkpoint.config.model}"
                raise CheckpointError(text)
            yield checkpoint, arrays
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except DistlenetError:
        raise
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        reason = f"it {reason}" if isinstance(error, NotHDF5Error) else reason
        raise CheckpointError(f"{path} is not a readable checkpoint ({reason})") from error


def _check_format(path: Path, file: h5py.File) -> int:
    version = attribute(file, "format", 100)
    if version is None or missing_or_linked(file, "theta").endswith("missing"):
        raise CheckpointError(
            f"{path} is an HDF5 file, but not a checkpoint of this program, expected a run directory or a file of its "
            "checkpoints/"
        )
    if not isinstance(version, int | np.integer):
        raise CheckpointError(f"{path} has checkpoint format {version!r}, this version reads format {FORMAT}")
    if version > FORMAT:
        raise NewerFormatError(
            f"{path} has checkpoint format {version}, this version reads format {FORMAT}: use the version that wrote "
            "it, or name an older checkpoint"
        )
    if version not in (1, FORMAT):
        raise CheckpointError(f"{path} has checkpoint format {version}, this version reads format {FORMAT}")
    return int(version)


def upgraded(facts: dict[str, Any]) -> dict[str, Any]:
    """Convert the facts of a file of format 1 to format 2; raises like ``Checkpoint.of``.

    Files of older versions lack "health": rate factor, divergences, loss watch and the good state.
    """
    position, best, health = facts["position"], facts["best"], facts.get("health") or {}
    good, watch = health.get("good"), health.get("watch", {"guessing": log(len(facts["dataset"]["class_names"]))})
    progress = {name: position[name] for name in ("epoch", "step", "steps", "running")}
    progress |= {"watch": watch, "history": facts["history"]}
    progress |= {"best_accuracy": best["accuracy"], "best_epoch": best["epoch"]}
    progress |= {name: health[name] for name in ("factor", "divergences")} if health else {}
    if good:
        accuracy, epoch = good["best"]
        good = {name: value for name, value in good.items() if name != "best"}
        good |= {"best_accuracy": accuracy, "best_epoch": epoch}
    return facts | {"progress": progress, "good": good}
