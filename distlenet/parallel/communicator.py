"""The communicator protocol of the trainer: the same calls for one process and for many."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn, Protocol

import numpy as np

from distlenet.parallel.tree import additions

PIECE = 2**26  # bytes of an array sent at a time
UNTIMED = nullcontext()
Span = Callable[[str], AbstractContextManager[None]]  # times a block as its argument: "wait"


def untimed(name: str) -> AbstractContextManager[None]:
    """Time nothing: the Span of a run that records no timeline."""
    return UNTIMED


class Communicator(Protocol):
    """The ranks of a job. All ranks must call every method except ``abort`` and ``leave``, in the same order.

    If the job can outlive its ranks, any of them may raise RanksLost; see ``recover``. The arrays passed are then
    undefined, and other ranks may have completed it.
    """

    rank: int
    size: int
    survives_losses: bool  # the job continues when ranks die
    exchange_seconds: float  # time spent between ranks in ``allreduce_leaves`` so far, local additions excluded
    parent: "Parent | None"  # of a process that is about to join a running job: alone until then, and not the root
    span: Span  # called by ``allreduce_leaves`` for its parts: "send", "wait", "add"

    @property
    def description(self) -> str:
        """MPI library and number of ranks: "Open MPI 5.0.11, 4 ranks"."""

    @property
    def hosts(self) -> list[str]:
        """The host of each rank."""

    @property
    def is_root(self) -> bool:
        """True on rank 0, which displays progress and writes files."""

    def allreduce_leaves(self, leaves: np.ndarray, shards: int) -> np.ndarray:
        """Add up the leaves of all shards in the order of the reduction tree.

        ``leaves`` (owned shards, length) float32 is overwritten; returns (length,), the same bits on every rank
        and for any number of ranks. The result is valid until the next call.
        """

    def allreduce(self, values: np.ndarray) -> None:
        """Add up ``values`` (a short contiguous float64 array) of all ranks in place, in any order.

        Exact if every element is non-zero on at most one rank, or if all are whole numbers below 2^53.
        """

    def broadcast(self, value: Any, source: int = 0) -> Any:
        """Return rank ``source``'s ``value`` (JSON: numbers, text, lists, dicts) on every rank."""

    def broadcast_array(self, array: np.ndarray, source: int = 0) -> None:
        """Overwrite ``array`` (contiguous) on every rank with rank ``source``'s."""

    def allgather(self, value: Any) -> list[Any]:
        """Return the ``value`` (JSON) of every rank, in rank order, on every rank."""

    def split(self, teams: int) -> tuple[int, "Communicator"]:
        """Divide the ranks into ``teams`` (<= size) consecutive groups of about equal size.

        Returns this rank's team number and communicator. A team does not survive the loss of a rank: the job ends.
        """

    def recover(self) -> list[int]:
        """After RanksLost, continue with the survivors; returns the lost ranks by their old numbers.

        Rank, size and is_root change: the lowest survivor is the new root. Raises RanksLost again if more ranks were
        lost meanwhile, and an agreed RanksLost if this part of the job must end.
        """

    def drop(self, ranks: list[int]) -> None:
        """Kill those of the silent ``ranks`` that are on this host; any thread of any rank may call this alone."""

    def leave(self, code: int) -> int:
        """Return the exit code to end with; call it after the last message. May end the process itself."""

    def abort(self, code: int) -> None:
        """End all ranks at once with exit code ``code``; does not return under MPI."""


class Parent(Protocol):
    """A running job, seen from a process that is about to join it. Each method ends this process if the job is over."""

    welcome: Any  # what the root tells it first

    def show(self, facts: dict[str, Any]) -> None:
        """Send the facts (JSON) by which the root judges whether this process fits."""

    def decline(self, reason: str) -> NoReturn:
        """End this process, which cannot join; the root reports the reason."""


class Recruit(Protocol):
    """A process that is to become a rank, seen from the root."""

    host: str
    ready: bool  # it may be taken in
    refusal: str | None  # why it cannot join
    final: bool  # another attempt would end in the same way

    def look(self) -> None:
        """Notice if the process takes too long."""

    def dismiss(self) -> None:
        """Let the process end."""


class Resizable(Communicator, Protocol):
    """The ranks of a job whose number can change while it runs."""

    def recruit(
        self, host: str | None, welcome: Any, judge: Callable[[dict[str, Any]], str | None], patience: float
    ) -> Recruit:
        """Start a new process on ``host``, or anywhere, without waiting for it; only the root calls this.

        The process gets ``welcome`` (JSON). ``judge`` is called in a thread and returns why a process with these facts
        does not fit, or None. It is refused after ``patience`` seconds (0: never).
        """

    def grow(self, recruit: Recruit | None) -> None:
        """Take in a new rank, the last one from now on; all ranks call this, the root with its ``recruit``.

        Raises RanksLost on every rank if one was lost meanwhile: then the ranks are as before, see ``recover``.
        """

    def join(self) -> None:
        """Become a rank of the job whose ranks are in ``grow``; ends this process if the job does not need it."""

    def shrink(self, size: int) -> NoReturn:
        """End the ranks from ``size`` on. Raises RanksLost on the others, whose ``recover`` does not count these."""


class Serial:
    """The communicator of a single process. See ``Communicator`` for the methods."""

    rank, size, is_root = 0, 1, True
    description = "one process"
    survives_losses = False
    exchange_seconds = 0.0
    parent: Parent | None = None
    span: Span = staticmethod(untimed)

    @property
    def hosts(self) -> list[str]:
        """This host."""
        return [os.uname().nodename]

    def allreduce_leaves(self, leaves: np.ndarray, shards: int) -> np.ndarray:
        """Add up all leaves (shards, length) in tree order; returns (length,)."""
        for step in additions(shards):
            leaves[step.left] += leaves[step.right]
        return leaves[0]

    def allreduce(self, values: np.ndarray) -> None:
        """Nothing to add."""

    def broadcast(self, value: Any, source: int = 0) -> Any:
        """Return ``value``."""
        return value

    def broadcast_array(self, array: np.ndarray, source: int = 0) -> None:
        """Nothing to copy."""

    def allgather(self, value: Any) -> list[Any]:
        """Return ``[value]``."""
        return [value]

    def split(self, teams: int) -> tuple[int, "Serial"]:
        """Return this process as the only team."""
        return 0, self

    def recover(self) -> list[int]:
        """Nobody can be lost."""
        return []

    def drop(self, ranks: list[int]) -> None:
        """Nobody can be silent."""

    def leave(self, code: int) -> int:
        """Return ``code``."""
        return code

    def abort(self, code: int) -> None:
        """Nothing to end: the caller's exception ends the process."""


def pieces_of(array: np.ndarray) -> list[np.ndarray]:
    """Return ``array`` (contiguous) as one or more views of at most PIECE bytes, to show progress on a slow network."""
    flat, step = array.reshape(-1), max(1, PIECE // array.itemsize)
    return [flat[start : start + step] for start in range(0, max(1, flat.size), step)]
