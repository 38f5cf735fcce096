"""Audits: now and then a leaf is computed again by another rank, and its bits are compared before the update.

Cores and memory can be wrong without a sign. A wrong gradient would spread to all ranks with the next sum. So the owner
of an audited leaf adds a digest of it to the bus, and the auditor subtracts the digest of its own result: the sum over
the ranks is zero if the bits are equal, and no further message is needed. The auditor reads rows that it does not own.
A lone process computes the leaf twice.
"""

import hashlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from distlenet.data.leaves import Leaves
from distlenet.errors import AuditError, DataError, OwnCodeError
from distlenet.parallel import Communicator, owned_shards
from distlenet.parallel.agreement import in_agreement
from distlenet.streams import clean
from distlenet.training.bus import AUDIT, SUMS, Bus
from distlenet.training.state import TrainState

EVERY = 150  # steps between two audits, unless asked otherwise: at most 1 % of the time, even with one leaf a rank


@dataclass
class Audits:
    """The audits of a run. ``every``: steps between two, 0: none; ``everything``: every leaf of every step.

    Each audit takes the next shard, so a core that is always wrong is found within ``shards`` audits.
    """

    every: int = 0
    everything: bool = False
    _words: list[dict[str, Any]] = field(default_factory=list)  # of this step's leaves, as this rank computed them

    def room(self, shards: int) -> int:
        """Return the number of leaves that a step audits at most."""
        return shards if self.everything else min(1, self.every)

    def _round(self, steps: int) -> int:
        return steps // max(1, self.every)

    def due(self, steps: int, shards: int) -> list[int]:
        """Return the shards that are audited in the step after ``steps`` steps: a function of the position alone."""
        if self.everything:
            return list(range(shards))
        if self.every and (steps + 1) % self.every == 0:
            return [self._round(steps) % shards]
        return []

    def compute(self, state: TrainState, leaves: Leaves, bus: Bus, comm: Communicator) -> None:
        """Write the digests of this rank to the bus, whose leaves are complete."""
        self._words = []
        shards, turn = leaves.plan.shards, self._round(state.progress.steps)
        for place, shard in enumerate(self.due(state.progress.steps, shards)):
            owner = owner_of(shard, comm.size, shards)
            if shard in leaves.shards:
                slot = leaves.shards.index(shard)
                words = self._note(shard, "owner", bus.leaves[slot, : bus.parameters + SUMS])
                bus.digests(bus.leaves[slot])[place] += words
            # in each cycle through the shards another pair of ranks
            if auditor_of(owner, turn if self.everything else turn // shards, comm.size) == comm.rank:
                try:
                    words = self._note(shard, "auditor", compute_leaf(state, leaves, bus, shard))
                except (DataError, OwnCodeError):  # this rank cannot read or augment the images: no verdict
                    words = np.full(AUDIT, np.nan, np.float32)
                bus.digests(bus.leaves[0])[place] -= words

    def _note(self, shard: int, role: str, row: np.ndarray) -> np.ndarray:
        words = digest(row)
        self._words.append({"shard": shard, "role": role, "words": words.tolist(), "core": core()})
        return words

    def judge(self, state: TrainState, leaves: Leaves, bus: Bus, total: np.ndarray, comm: Communicator) -> None:
        """Compare the digests in the reduced vector ``total``, and remove them from it.

        Raises AuditError on every rank if bits differ, DataError if a rank cannot read its images again. Under a
        launcher that survives lost ranks, a rank that is outvoted ends itself instead.
        """
        sums = bus.digests(total)
        wrong = np.flatnonzero((np.isfinite(sums) & (sums != 0)).any(axis=1))
        sums[:] = 0
        if len(wrong):
            due = self.due(state.progress.steps, leaves.plan.shards)
            self._explain(state, leaves, bus, [due[place] for place in wrong], comm)

    def _explain(
        self, state: TrainState, leaves: Leaves, bus: Bus, wrong: Sequence[int], comm: Communicator
    ) -> NoReturn:
        """Let every rank compute the leaf again, and raise the error that names the ranks in the minority."""
        shard, mine = wrong[0], [entry for entry in self._words if entry["shard"] == wrong[0]]
        with in_agreement(comm):
            again = digest(compute_leaf(state, leaves, bus, shard, verify=True)).tolist()
        own = {"role": "witness", "words": again, "core": core()}
        rows = comm.allgather([os.uname().nodename, mine, own])
        votes = [(rank, host, entry) for rank, (host, early, late) in enumerate(rows) for entry in [*early, late]]
        (usual, count), *_ = Counter(tuple(entry["words"]) for _, _, entry in votes).most_common(1)
        decided = 2 * count > len(votes)
        if decided:
            blamed = [vote for vote in votes if tuple(vote[2]["words"]) != usual]
        else:
            blamed = [vote for vote in votes if vote[2]["role"] != "witness"]
        named = {rank: f"rank {rank} on {host} (core {entry['core']})" for rank, host, entry in reversed(blamed)}
        culprits = sorted(named)
        who = " and ".join(named[rank] for rank in culprits)
        verb = "computed other bits than the other ranks" if decided else "computed different bits"
        verb = verb if comm.size > 1 else "computed different bits each time"
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        text = f"{state.progress.upcoming(leaves.plan.steps_per_epoch)}: {who} {verb} for shard {shard}{more}"
        if decided and comm.survives_losses and len(culprits) < comm.size:
            if any(tuple(entry["words"]) != usual for entry in [*mine, own]):
                leave(f"[rank {comm.rank}/{comm.size}] {text}: it ends itself, and the others continue without it")
            comm.allgather(None)  # raises RanksLost
        raise AuditError(
            f"{text}; the update was skipped and the last checkpoint is untouched: suspect this core or its memory, "
            "and resume with --resume auto elsewhere"
        ).of_every_rank()


def compute_leaf(state: TrainState, leaves: Leaves, bus: Bus, shard: int, verify: bool = False) -> np.ndarray:
    """Return the leaf of any ``shard`` for the current step: (parameters + SUMS,), as in the bus."""
    row = np.zeros(bus.parameters + SUMS, np.float32)
    x, labels = leaves.load_any(state.progress.epoch, state.progress.step, shard, verify)
    if len(labels):
        loss, correct = state.net.loss_and_grad(x, labels, row[: bus.parameters])
        row[bus.parameters :] = loss, correct, len(labels)
    return row


def digest(row: np.ndarray) -> np.ndarray:
    """Return the first bits of the SHA-256 of a leaf as numbers (AUDIT,): 24 bits each, which float32 holds exactly."""
    found = hashlib.sha256(row.data).digest()
    return np.array([int.from_bytes(found[3 * i : 3 * i + 3]) for i in range(AUDIT)], np.float32)


def owner_of(shard: int, size: int, shards: int) -> int:
    """Return the rank that owns ``shard``."""
    return next(rank for rank in range(size) if shard in owned_shards(rank, size, shards))


def auditor_of(owner: int, turn: int, size: int) -> int:
    """Return the rank that audits the leaves of ``owner``: each of the others in turn."""
    return (owner + 1 + turn % max(1, size - 1)) % size


def core() -> int | None:
    """Return the core that this thread runs on, None if the system does not tell."""
    try:
        return int(Path("/proc/thread-self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[36])
    except (OSError, ValueError, IndexError):
        return None


def leave(text: str) -> NoReturn:
    """End this process after a last sentence; MPI tells the others."""
    sys.stderr.write(f"{clean(text)}\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # the signal may take a moment
    raise AssertionError
