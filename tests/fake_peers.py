"""Peers that need no library: fast and slow ones, and some that fail. They write down when it is their turn."""

import os
import sys
import time
from pathlib import Path

from distlenet.bench.peers.peer import Peer, Work

NEEDS = ()
INSTALL = "pip install fake"


class Quick(Peer):
    """A peer that is far ahead."""

    name = "quick"
    kinds: tuple[str, ...] = ("train", "infer")
    seconds = 1e-5

    def __init__(self, work: Work) -> None:
        self.version = "1.0"
        assert os.sched_getaffinity(0) == set(work.cores)
        print("a library may print what it likes")
        self.calls = 0
        self.tasks = dict.fromkeys(("train", "infer", "ranks"), self.call)

    def call(self) -> None:
        """Take a step."""
        self.calls += 1
        time.sleep(self.seconds)
        if "FAKE_TURNS" in os.environ:
            with Path(os.environ["FAKE_TURNS"]).open("a") as file:
                file.write(f"{self.name}\n")


class Slow(Quick):
    """A peer that is behind."""

    name = "slow"
    kinds = ("train", "ranks")
    seconds = 0.05


class Absent(Quick):
    """A peer that cannot be built."""

    name = "absent"

    def __init__(self, work: Work) -> None:
        raise ImportError("no module of that name")


class Crashing(Quick):
    """A peer that dies in its turn."""

    name = "crashing"

    def call(self) -> None:
        """Take a step, but not the tenth."""
        super().call()
        if self.calls == 10:
            os.abort()


class Hanging(Quick):
    """A peer that never returns from the tenth step."""

    name = "hanging"

    def call(self) -> None:
        """Take a step."""
        super().call()
        if self.calls == 10:
            print("waiting", file=sys.stderr)
            time.sleep(600)


PEERS = (Quick, Slow, Absent, Crashing, Hanging)
