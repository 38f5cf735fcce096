"""A checkpoint to read digits with: the parameters alone, at a fifth of the size of one to train on."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from distlenet.errors import CheckpointError
from distlenet.runs.checkpoint import Checkpoint
from distlenet.runs.checkpoint_file import lay_out, read_checkpoint


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint file of ``checkpoint``'s parameters, without the optimizer's vectors and older epochs.

    It serves wherever a checkpoint is read; a run cannot be resumed from it.
    """
    progress = replace(checkpoint.progress, history=checkpoint.progress.history[-1:], divergences=[])
    facts = checkpoint.facts() | {"progress": asdict(progress), "good": None}
    return lay_out({"theta": checkpoint.averaged}, json.dumps(facts))


def is_exported_checkpoint(path: Path) -> bool:
    """Whether ``path`` is a checkpoint of the parameters alone: those that a run writes hold more."""
    try:
        checkpoint = read_checkpoint(path)
    except CheckpointError:
        return False
    return not checkpoint.optimizer and len(checkpoint.progress.history) <= 1 and checkpoint.best_theta is None
