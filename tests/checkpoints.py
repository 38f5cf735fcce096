"""Checkpoint files as an attacker makes them: every checksum is right."""

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def rewrite(path: Path, image: bytes, meta: dict[str, Any] | str | None = None, **attributes: object) -> None:
    """Write a checkpoint, ``image`` with another ``meta``, whose checksums are right, but whose contents are not."""
    path.write_bytes(image)
    with h5py.File(path, "r+") as file:
        if meta is not None:
            text = (meta if isinstance(meta, str) else json.dumps(meta)).encode()
            del file["meta"]
            file["meta"] = np.frombuffer(text, np.uint8)
            sums = json.loads(file.attrs["sha256"]) | {"meta": hashlib.sha256(text).hexdigest()}
            file.attrs["sha256"] = json.dumps(sums)
        for name, value in attributes.items():
            file.attrs[name] = value
