"""A checkpoint's network in the formats of other programs, ONNX, safetensors, npz, or as a small checkpoint.

from distlenet.export import export
export(find_checkpoint("runs/a"), "onnx", "digits.onnx")
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from distlenet import atomic
from distlenet.bounded import head
from distlenet.data.file.hdf5 import SIGNATURE
from distlenet.errors import CheckpointError, ExportError
from distlenet.export.onnx_file import onnx_bytes
from distlenet.export.tensor_files import npz_bytes, safetensors_bytes
from distlenet.runs.checkpoint import Checkpoint
from distlenet.runs.checkpoint_file import lay_out, read_checkpoint


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint file of ``checkpoint``'s parameters, without the optimizer's vectors and older epochs.

    It serves wherever a checkpoint is read; a run cannot be resumed from it.
    """
    progress = replace(checkpoint.progress, history=checkpoint.progress.history[-1:], divergences=[])
    facts = checkpoint.facts() | {"progress": asdict(progress), "good": None}
    return lay_out({"theta": checkpoint.averaged}, json.dumps(facts))


FORMATS: dict[str, Callable[[Checkpoint], bytes]] = {
    "onnx": onnx_bytes,
    "safetensors": safetensors_bytes,
    "npz": npz_bytes,
    "h5": checkpoint_bytes,
}


def export(checkpoint: Checkpoint, kind: str, path: str | os.PathLike[str]) -> None:
    """Write ``checkpoint``'s network to ``path`` in the format ``kind``, one of FORMATS; whole, or not at all.

    Raises ExportError where the format has no word for a layer, its library is missing, or the disk fails.
    """
    atomic.write(path, FORMATS[kind](checkpoint), ExportError, follow_links=True)


def is_export(path: Path) -> bool:
    """Whether ``path`` was written by `export`, judged by its content; a run's own checkpoint was not."""
    start = head(path.resolve(), 2**16) or b""
    if start.startswith(b"PK"):
        return b"metadata.npy" in start
    if start.startswith(SIGNATURE):
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError:
            return False
        # only parameters; checkpoints written by a run hold more
        return not checkpoint.optimizer and len(checkpoint.progress.history) <= 1 and checkpoint.best_theta is None
    onnx, safetensors = b"distlenet" in start[:64], start[8:9] == b"{" and b'"__metadata__"' in start
    return onnx or (safetensors and b'"activation"' in start and b'"class_names"' in start)
