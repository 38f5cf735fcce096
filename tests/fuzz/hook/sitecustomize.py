"""Strikes a training process from inside, at a place that it passes: see Fault in tests/fuzz/case.py.

Python imports this file at its start wherever its folder is on PYTHONPATH. $DISTLENET_FUZZ names a folder with
faults.json; each fault strikes once in the life of that folder, and writes the file struck-<number> with the number of
the stopped process.
"""

import importlib.machinery
import json
import os
import signal
import sys
import threading
from collections import Counter
from importlib.abc import MetaPathFinder
from pathlib import Path

PLACES = {
    "start": "distlenet.runs.experiment:open_digit_file",
    "share": "distlenet.runs.session:broadcast_state",
    "step": "distlenet.training.loop:compute_leaves",
    "sum": "distlenet.training.loop:is_finite",  # after the sum, before the update
    "update": "distlenet.nn.optimizers:Optimizer.step",
    "replicas": "distlenet.training.loop:check_replicas",  # before a save
    "evaluation": "distlenet.training.evaluation:evaluate",
    "checkpoint": "distlenet.runs.keeper:write_checkpoint",
    "replace": "os:replace",
    "fsync": "os:fsync",
    "write": "os:write",
    "examine": "distlenet.training.healing:examine",  # the run has diverged
    "test": "distlenet.runs.session:final_test",
    "summary": "distlenet.runs.session:summarize",
}
LAST_MODULE = "distlenet.runs.session"  # once this is loaded, all others are too
MPIRUNS = ("prterun", "mpirun", "mpiexec", "hydra")


class Striker:
    """The faults of this process, by place; ``passed`` counts the calls of each place."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.passed = folder, Counter()
        rank = int(os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ.get("PMI_RANK") or 0)
        faults = enumerate(json.loads((folder / "faults.json").read_text()))
        self.faults = [(number, fault) for number, fault in faults if fault["rank"] == rank]

    def install(self) -> None:
        """Wrap the functions of all places; AttributeError if one no longer exists."""
        for place, path in PLACES.items():
            module, _, names = path.partition(":")
            *outer, name = names.split(".")
            owner = sys.modules[module]
            for part in outer:
                owner = getattr(owner, part)
            setattr(owner, name, self._wrap(place, getattr(owner, name)))

    def _wrap(self, place: str, function):
        def passing(*arguments, **named):
            self.passed[place] += 1
            count = self.passed[place]
            self._strike(place, count, after=False)
            result = function(*arguments, **named)
            self._strike(place, count, after=True)
            return result

        return passing

    def _strike(self, place: str, count: int, after: bool) -> None:
        for number, fault in self.faults:
            if (fault["place"], fault["count"], fault["after"]) == (place, count, after):
                if fault["delay"]:
                    threading.Timer(fault["delay"], self._send, (number, fault)).start()
                else:
                    self._send(number, fault)

    def _send(self, number: int, fault: dict) -> None:
        process = {"self": os.getpid, "mpirun": find_mpirun, "launch": find_launcher}[fault["target"]]()
        try:
            (self.folder / f"struck-{number}").open("x").close()
        except FileExistsError:
            return
        if fault["signal"] == "pause":
            (self.folder / f"paused-{number}").write_text(str(process))
        os.kill(process, signal.SIGSTOP if fault["signal"] in ("pause", "hang") else getattr(signal, fault["signal"]))


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def program(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0].decode().rpartition("/")[2]


def find_mpirun() -> int:
    process, found = parent(os.getpid()), 0
    while process > 1 and program(process).startswith(MPIRUNS):
        process, found = parent(process), process
    return found or os.getpid()


def find_launcher() -> int:
    return parent(find_mpirun())


class Finder(MetaPathFinder):
    """Installs the striker when the training code is loaded."""

    def find_spec(self, name, path, target=None):
        if name != LAST_MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            Striker(Path(os.environ["DISTLENET_FUZZ"])).install()

        spec.loader.exec_module = exec_module
        return spec


if "DISTLENET_FUZZ" in os.environ:
    sys.meta_path.insert(0, Finder())
