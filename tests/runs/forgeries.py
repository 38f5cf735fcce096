"""Forgeries of a run by somebody who knows the formats: every checksum, hash and copy of a figure fits afterwards."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from distlenet.config import Config
from distlenet.numerics import sha256
from distlenet.runs.checkpoint_file import lay_out

Facts = dict[str, Any]  # the JSON of a checkpoint
Arrays = dict[str, np.ndarray]  # by name, without /parameters


def load(path: Path) -> tuple[Facts, Arrays, dict[str, tuple[int, ...]]]:
    """Return facts, vectors and the shapes of the parameters of a checkpoint, in the order of theta."""
    with h5py.File(path) as file:
        facts, arrays, shapes = json.loads(bytes(file["meta"][:])), {}, {}
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    parts = {name: array for name, array in arrays.items() if name.startswith("parameters/")}
    arrays = {name: array for name, array in arrays.items() if name not in parts and name != "meta"}
    theta, start = arrays["theta"], 0
    while start < len(theta):
        found = [name for name, part in parts.items() if np.array_equal(theta[start : start + part.size], part.ravel())]
        name = max(found, key=lambda name: parts[name].size)
        shapes[name] = parts.pop(name).shape
        start += int(np.prod(shapes[name]))
    shapes |= {name: part.shape for name, part in parts.items()}
    return facts, arrays, shapes


def store(path: Path, facts: Facts, arrays: Arrays, shapes: dict[str, tuple[int, ...]]) -> None:
    """Write a checkpoint with the right checksums."""
    parts, start = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        parts[name] = arrays["theta"][start : start + size].reshape(shape)
        start += size
    path.write_bytes(lay_out(arrays | parts, json.dumps(facts)))


def edit(run: Path, how: Callable[[str, Facts, Arrays], object]) -> None:
    """Change every checkpoint of ``run`` by ``how(name, facts, arrays)``, in place."""
    for path in sorted((run / "checkpoints").glob("*.h5")):
        facts, arrays, shapes = load(path)
        how(path.name, facts, arrays)
        store(path, facts, arrays, shapes)


def edit_summary(run: Path, **values: Any) -> None:
    path = run / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values, indent=2) + "\n")


def edit_journal(run: Path, how: Callable[[dict[str, Any]], object]) -> None:
    path = run / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        how(line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def edit_settings(run: Path, **values: Any) -> None:
    """Claim other settings, everywhere."""

    def in_line(line: dict[str, Any]) -> None:
        if line["kind"] == "start":
            line["settings"].update(values)
            line["epochs"] = line["settings"]["epochs"]
            rule = "{optimizer}, {schedule} {lr:g}, seed {seed}".format(**line["settings"])
            line["facts"]["optimizer"] = rule

    edit(run, lambda name, facts, arrays: facts["config"].update(values))
    settings = load(run / "checkpoints/last.h5")[0]["config"]
    (run / "config.toml").write_text(Config(**settings).to_toml())
    edit_journal(run, in_line)


def edit_history(run: Path, epoch: int, how: Callable[[dict[str, Any]], object]) -> None:
    """Change the results of an epoch (0-based), in every checkpoint and in the journal."""
    edit(run, lambda name, facts, arrays: [how(entry) for entry in facts["progress"]["history"][epoch : epoch + 1]])
    edit_journal(run, lambda line: how(line) if line["kind"] == "epoch" and line["epoch"] == epoch else None)


def accuracy(run: Path, other: Path, rng: random.Random) -> None:
    """A better accuracy, in the summary, the journal and the history."""
    better = min(1.0, load(run / "checkpoints/last.h5")[0]["progress"]["best_accuracy"] + rng.choice([0.01, 0.05, 0.2]))
    epoch = load(run / "checkpoints/last.h5")[0]["progress"]["best_epoch"]
    edit_history(run, epoch, lambda entry: entry["validation"].update(accuracy=better))

    def best(name: str, facts: Facts, arrays: Arrays) -> None:
        for moment in (facts["progress"], facts["good"]):
            if moment and moment["best_epoch"] == epoch:
                moment["best_accuracy"] = better

    edit(run, best)
    edit_summary(run, val_accuracy=better, test_accuracy=better, test_error=1 - better)


def seed(run: Path, other: Path, rng: random.Random) -> None:
    """Another seed."""
    value = rng.randrange(2, 1000)
    edit_settings(run, seed=value)
    edit_summary(run, seed=value)


def theta(run: Path, other: Path, rng: random.Random) -> None:
    """The last parameters of another run."""
    taken = load(other / "checkpoints/last.h5")[1]["theta"]
    steps = load(run / "checkpoints/last.h5")[0]["progress"]["steps"]

    def swap(name: str, facts: Facts, arrays: Arrays) -> None:
        if facts["progress"]["steps"] == steps:
            arrays["theta"] = taken
            if facts["progress"]["best_epoch"] == facts["progress"]["epoch"] - 1:
                arrays["best/theta"] = taken

    edit(run, swap)
    last = len(load(run / "checkpoints/last.h5")[0]["progress"]["history"]) - 1
    edit_history(run, last, lambda entry: entry.update(theta_sha256=sha256(taken)))
    edit_summary(run, theta_sha256=sha256(taken))


def swapped(run: Path, other: Path, rng: random.Random) -> None:
    """A checkpoint with the vectors of another epoch."""
    first, second = run / "checkpoints/epoch-0001.h5", run / "checkpoints/epoch-0002.h5"
    if rng.random() < 0.5:
        one, two = first.read_bytes(), second.read_bytes()
        first.write_bytes(two), second.write_bytes(one)
        return
    (facts, _, shapes), vectors = load(first), load(second)[1]
    facts["progress"]["history"][0]["theta_sha256"] = sha256(vectors["theta"])
    store(first, facts, vectors, shapes)
    edit_history(run, 0, lambda entry: entry.update(theta_sha256=sha256(vectors["theta"])))


def fewer(run: Path, other: Path, rng: random.Random) -> None:
    """A run of fewer epochs: the rest is removed, as if it had never been planned."""
    kept = rng.choice([1, 2])
    folder = run / "checkpoints"
    image = (folder / f"epoch-000{kept}.h5").read_bytes()
    for path in folder.glob("*.h5"):
        if path.name not in [f"epoch-000{number}.h5" for number in range(1, kept + 1)]:
            path.unlink()
    (folder / "last.h5").write_bytes(image)
    facts = load(folder / "last.h5")[0]
    edit_settings(run, epochs=kept)
    steps = facts["progress"]["steps"]
    path = run / "journal.jsonl"
    lines = [line for line in map(json.loads, path.read_text().splitlines()) if line["steps"] <= steps]
    path.write_text(
        "".join(json.dumps(line) + "\n" for line in [*lines, {"kind": "end", "steps": steps, "status": "complete"}])
    )
    figures = {"epochs": kept, "steps": steps, "theta_sha256": sha256(load(folder / "last.h5")[1]["theta"])}
    edit_summary(run, **figures, val_accuracy=facts["progress"]["best_accuracy"])


def dataset(run: Path, other: Path, rng: random.Random) -> None:
    """Another dataset: the one that ``other`` was trained on."""
    found = load(other / "checkpoints/last.h5")[0]["dataset"]
    edit(run, lambda name, facts, arrays: facts.update(dataset=found))
    edit_summary(run, data=found["name"], fingerprint=found["fingerprint"])


def rate(run: Path, other: Path, rng: random.Random) -> None:
    """Another learning rate, also in every line that states it."""
    times = rng.choice([0.5, 0.999, 1.001, 2.0])
    edit_settings(run, lr=load(run / "checkpoints/last.h5")[0]["config"]["lr"] * times)

    def scale(entry: dict[str, Any]) -> None:
        if "lr" in entry:
            entry["lr"] *= times

    edit_journal(run, scale)
    edit(run, lambda name, facts, arrays: list(map(scale, facts["progress"]["history"])))


def losses(run: Path, other: Path, rng: random.Random) -> None:
    """Lower validation losses."""
    times = rng.choice([0.5, 0.99, 0.999999])
    for epoch in range(3):
        edit_history(run, epoch, lambda entry: entry["validation"].update(loss=entry["validation"]["loss"] * times))


def momentum(run: Path, other: Path, rng: random.Random) -> None:
    """A flipped bit of the optimizer's vector, in all files of one position."""
    epoch, place, bit = rng.choice([1, 2, 3]), rng.random(), rng.randrange(31)

    def flip(name: str, facts: Facts, arrays: Arrays) -> None:
        if facts["progress"]["epoch"] == epoch:
            vector = next(array for key, array in arrays.items() if key.startswith("optimizer/"))
            vector.view(np.uint32)[int(place * len(vector))] ^= np.uint32(1 << bit)

    edit(run, flip)


def history(run: Path, other: Path, rng: random.Random) -> None:
    """Better results in training."""
    epoch, key = rng.randrange(3), rng.choice(["running", "train"])
    edit_history(run, epoch, lambda entry: entry[key].update(accuracy=min(1.0, entry[key]["accuracy"] + 1 / 128)))


def best(run: Path, other: Path, rng: random.Random) -> None:
    """The best parameters of another run, in best.h5 and wherever else they are."""
    taken, path = load(other / "checkpoints/best.h5")[1]["theta"], run / "checkpoints/best.h5"
    digest = sha256(taken)
    where = load(path)[0]["progress"]["epoch"]

    def swap(name: str, facts: Facts, arrays: Arrays) -> None:
        if facts["progress"]["epoch"] == where:
            arrays["theta"] = taken
        if facts["progress"]["best_epoch"] == where - 1:
            arrays["best/theta"] = taken
        if "good/best/theta" in arrays and facts["good"]["best_epoch"] == where - 1:
            arrays["good/best/theta"] = taken

    edit(run, swap)
    edit_history(run, where - 1, lambda entry: entry.update(theta_sha256=digest))
    if load(run / "checkpoints/last.h5")[0]["progress"]["epoch"] == where:
        edit_summary(run, theta_sha256=digest)


KINDS = {
    made.__name__: made
    for made in (accuracy, seed, theta, swapped, fewer, dataset, rate, losses, momentum, history, best)
}
