"""Ranks that agree on what failed: on one of them, on all, or on the root alone."""

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator

from distlenet import errors
from distlenet.errors import DistlenetError, RanksLost
from distlenet.parallel.communicator import Communicator
from distlenet.streams import clean

LAST_WORDS = 0.2  # seconds; MPICH's mpirun ends an aborted job without passing on what it has not read yet


@contextlib.contextmanager
def all_or_nothing(comm: Communicator, debug: bool = False) -> Iterator[None]:
    """End every rank when one leaves the block by an exception: the others would wait for it for ever.

    The failing rank says why, once, with its rank; then the job is aborted with its exit code.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, DistlenetError) and error.agreed:
            error.reported = not comm.is_root
            raise
        if comm.size == 1:
            raise
        code = error.exit_code if isinstance(error, DistlenetError) else 1
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 1
            text = str(error.code) if isinstance(error.code, str) else ""
        elif isinstance(error, DistlenetError) and not debug:
            text = f"distlenet: error: {clean(error)}"
        else:
            text = "".join(traceback.format_exception(error))
        if text:
            lines = "".join(f"[rank {comm.rank}/{comm.size}] {line}\n" for line in text.rstrip().splitlines())
            sys.stderr.write(lines)  # one write: lines of several ranks do not mix
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(LAST_WORDS)
        comm.abort(code or 1)
        raise


@contextlib.contextmanager
def in_agreement(comm: Communicator) -> Iterator[None]:
    """Run the block on every rank, then compare: if any rank failed, all raise the first failure.

    For what ranks do alone and can fail at alone, like reading files. The error is marked as agreed:
    every rank knows of it, so the root alone reports it and all leave in good order. Where rank 0 did not fail, the
    error says which rank did, and on which host: there the same file may be another one.
    """
    error: DistlenetError | None = None
    try:
        yield
    except RanksLost:
        raise  # in a message within the block: to agree, those that still wait for that message would be needed
    except DistlenetError as caught:
        error = caught
    rows = comm.allgather([os.uname().nodename, None if error is None else [type(error).__name__, str(error)]])
    hosts, failures = [row[0] for row in rows], [row[1] for row in rows]
    for rank, failure in enumerate(failures):
        if failure is not None:
            kind, text = failure
            if rank > 0:
                text += f" (rank {rank} on {hosts[rank]})"
            if error is None or rank != comm.rank:
                error = getattr(errors, kind)(text)
            error.args = (text,)
            raise error.of_every_rank()


def on_root(comm: Communicator, work: Callable[[], None]) -> None:
    """Do ``work`` on the root alone; what fails there fails on every rank."""
    with in_agreement(comm):
        if comm.is_root:
            work()
