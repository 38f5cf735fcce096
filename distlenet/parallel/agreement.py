"""Agreement between ranks about failures: on one rank, on all, or on the root alone."""

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

LAST_WORDS = 0.2  # seconds; MPICH's mpirun ends an aborted job without forwarding output that it has not read yet


@contextlib.contextmanager
def all_or_nothing(comm: Communicator, debug: bool = False) -> Iterator[None]:
    """End every rank if one leaves the block by an exception; otherwise the others would wait for it forever.

    The failing rank prints the reason, once, with its rank number, and aborts the job with its exit code.
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
            sys.stderr.write(lines)  # one write, so that lines of several ranks do not mix
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(LAST_WORDS)
        comm.abort(code or 1)
        raise


@contextlib.contextmanager
def in_agreement(comm: Communicator) -> Iterator[None]:
    """Run the block on every rank, then compare: if any rank failed, all raise the first failure.

    For work that can fail on one rank alone, like reading files. The error is marked as agreed: every rank knows of
    it, so only the root reports it, and all exit cleanly. If rank 0 did not fail, the error names the rank that did
    and its host, where the same path may be another file.
    """
    error: DistlenetError | None = None
    try:
        yield
    except RanksLost:
        raise  # lost in a message inside the block: ranks that still wait for that message cannot take part in agreeing
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
    """Do ``work`` on the root alone; an error there is raised on every rank."""
    with in_agreement(comm):
        if comm.is_root:
            work()
