"""Compares two runs with the same settings, one of which was disturbed."""

import re
from pathlib import Path
from typing import Any

import sessions

from distlenet.runs.checkpoint import Checkpoint
from distlenet.runs.checkpoint_file import read_checkpoint

SUMMARY = (
    *("status", "epochs", "steps", "theta_sha256", "divergences", "lr_factor", "seed", "parameters", "data"),
    *("fingerprint", "test_accuracy", "test_error", "test_loss", "test_chance", "val_accuracy", "evaluated", "failure"),
)
KINDS = ("step", "epoch")


def differences(run: Path, whole: Path, tampered: set[str], complete: bool) -> list[str]:
    """Return how the run in the directory ``run`` differs from the undisturbed ``whole``; [] if it does not.

    ``tampered`` lists the changes to its files, some of which are lost permanently. ``complete``: it reached its end
    (and not an error, after which the last checkpoint may be one requested by a signal).
    """
    found = _unlike("summary", _summary(run), _summary(whole))
    found += _journals(run, whole, bool(tampered & {"cut journal", "no journal", "lost ranks"}))
    found += _checkpoints(run, whole, tampered, complete)
    if (run / "config.toml").read_text() != (whole / "config.toml").read_text():
        found.append("config.toml differs")
    left = [str(path) for path in run.rglob("*") if path.name.endswith(".part")]
    return found + [f"left behind: {left}"] * bool(left)


def unsound(run: Path, keep_every: int | None) -> list[str]:
    """Return the faults in the files of a complete run, disturbed or not, without comparing them.

    ``keep_every`` is None if some of the kept checkpoints may be missing.
    """
    if not (run / "checkpoints" / "last.h5").exists():
        return ["no last.h5"]
    last = read_checkpoint(run / "checkpoints" / "last.h5")
    found, best, epochs = [], run / "checkpoints" / "best.h5", last.progress.epoch
    if (last.best_theta is not None) != best.exists():
        found.append(f"best.h5 {'is there' if best.exists() else 'is missing'}, best epoch {last.progress.best_epoch}")
    elif best.exists() and read_checkpoint(best).averaged.tobytes() != last.best_theta.tobytes():
        found.append("best.h5 holds other parameters than those of the best epoch")
    if keep_every is None:
        return found
    kept = {f"epoch-{epoch:04d}.h5" for epoch in range(1, epochs + 1) if keep_every and epoch % keep_every == 0}
    there = {path.name for path in (run / "checkpoints").glob("epoch-*.h5")}
    return found + [f"kept {sorted(there)}, expected {sorted(kept)}"] * (kept != there)


def error_of(output: str, *folders: Path) -> list[str]:
    """Return the sentences a job ended with, without the parts that may differ: ranks, paths."""
    found = [
        line.partition("distlenet: error:")[2].strip() for line in output.splitlines() if "distlenet: error:" in line
    ]
    for folder in folders:
        found = [line.replace(str(folder), "RUN") for line in found]
    return [re.sub(r"on rank \d+", "on rank N", line) for line in found]


def _journals(run: Path, whole: Path, some_lost: bool) -> list[str]:
    mine, expected = sessions.journal(run, *KINDS), sessions.journal(whole, *KINDS)
    if some_lost:
        others = [line for line in mine if line not in expected]
        epochs = [[line for line in lines if line["kind"] == "epoch"] for lines in (mine, expected)]
        return [f"journal: unexpected {others[:3]}"] * bool(others) + _unlike("epochs of the journal", *epochs)
    return _unlike("journal", mine, expected)


def _checkpoints(run: Path, whole: Path, tampered: set[str], complete: bool) -> list[str]:
    mine, expected = ({path.name for path in (folder / "checkpoints").glob("*.h5")} for folder in (run, whole))
    lost = {"best.h5"} if "no best.h5" in tampered else set()
    if tampered & {"elsewhere", "full"}:  # kept ones stay in place; those that a full disk refused are written later
        lost |= {name for name in expected if name.startswith("epoch-")}
    if "full" in tampered and sessions.summary(run).get("unsaved"):
        lost.add("last.h5")  # the run ended while its disk was full, and reports that
    found = [f"no {name}" for name in sorted(expected - mine - lost) if not name.startswith("last-")]
    found += [f"an unexpected {name}" for name in sorted(mine - expected) if not name.startswith("last")]
    late = {"best.h5"} & expected if "full" in tampered else set()
    for name in sorted(name for name in (mine & expected) - late if not name.startswith("last-")):
        one, other = (read_checkpoint(folder / "checkpoints" / name) for folder in (run, whole))
        if complete or name != "last.h5" or one.position == other.position:
            contents = [content(checkpoint) for checkpoint in (one, other)]
            if "other settings" in tampered and name != "last.h5":  # saved before or after that resume
                for facts in contents:
                    del facts["config"]
            found += _unlike(name, *contents)
    return found


def content(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the content of a checkpoint without the times in its history: facts, and vectors as bytes."""
    arrays = dict(checkpoint.now.vectors)
    if checkpoint.good:
        arrays |= {f"good/{name}": vector for name, vector in checkpoint.good.vectors.items()}
    facts = checkpoint.facts()
    facts |= facts.pop("progress") | {"history": list(map(sessions.timeless, checkpoint.progress.history))}
    return facts | {name: array.tobytes() for name, array in arrays.items()}


def _summary(run: Path) -> dict[str, Any]:
    summary = sessions.summary(run)
    summary["status"] = re.sub(r"on rank \d+", "on rank N", summary["status"])
    return {name: summary.get(name) for name in SUMMARY}


def _unlike(what: str, one: Any, other: Any) -> list[str]:
    """Return a sentence for each part in which ``one`` differs; numbers must be equal, NaN to NaN."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted(one.keys() | other.keys())
        return [line for name in names for line in _unlike(f"{what}: {name}", one.get(name), other.get(name))]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for number, pair in pairs for line in _unlike(f"{what}[{number}]", *pair)][:5]
    if isinstance(one, bytes | list) and isinstance(other, bytes | list):
        many = len(one) != len(other) or one != other
        unlike = sum(a != b for a, b in zip(one, other, strict=False))
        return [f"{what}: {len(one)} entries, expected {len(other)}, {unlike} of them differ"] * many
    same = repr(one) == repr(other)
    one, other = (f"{len(value)} bytes" if isinstance(value, bytes) else value for value in (one, other))
    return [] if same else [f"{what} is {one!r:.200}, expected {other!r:.200}"]
