"""Detects a stalled run: one rank hangs (stopped, a dead disk) and all others wait for it forever."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from distlenet.activity import current_phase, pieces
from distlenet.errors import RanksLost
from distlenet.parallel.agreement import LAST_WORDS
from distlenet.parallel.communicator import Communicator
from distlenet.parallel.heartbeat import Heard, Heartbeats
from distlenet.streams import clean

ABORT_SECONDS = 2.0
BUSY = 10  # times stall_after that a rank may compute on one piece of work, for example a layer's matrix product
BUSY_SHARE = 0.01  # share of the time: a thread that computes less counts as idle
HELP_SHARE = 0.1  # share of the time: other threads that together compute less do not count as helping it
PARALLEL = str(Path(__file__).parent)
PACKAGE = str(Path(PARALLEL).parent)


class Watchdog:
    """A thread that checks the progress of its rank; inactive for a single rank or ``stall_after`` 0.

    ``progress`` returns the rank's position in the run, "epoch 1, step 3".

    Progress means a finished piece of work, see ``activity.py``; a rank that is still computing on one piece has BUSY
    times as long. The job is stalled when no rank has made progress for ``stall_after`` seconds: ranks may wait for a
    working rank as long as it needs. In a stalled job every rank reports where it is, and the root names the silent
    ranks. Then the job ends. If it survives the loss of ranks, only the culprit ends: a rank that hangs, rather than
    waiting for others, ends itself, and MPI drops a silent one. If no rank is to blame, the job ends in any case.
    """

    def __init__(self, comm: Communicator, progress: Callable[[], str], stall_after: float) -> None:
        self._comm, self._progress, self._stall_after = comm, progress, stall_after
        self._watched, self._over = threading.get_ident(), threading.Event()
        self._active = (comm.size > 1 or comm.survives_losses) and stall_after > 0
        self._pulse = min(0.5, stall_after / 8)
        self._thread: threading.Thread | None = None
        self._heartbeats: Heartbeats | None = None

    def __enter__(self) -> "Watchdog":
        if self._active:
            self.connect()
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread:
            self._over.set()
            self._thread.join()
            self._thread = None
        if self._heartbeats:
            self._heartbeats.close()

    def connect(self) -> None:
        """Connect the ranks' heartbeats; all ranks call it together, at the start and after ranks were lost."""
        if self._active:
            self._heartbeats = Heartbeats(self._comm)

    def _watch(self) -> None:
        stillness, heard = Stillness(self._watched, self._stall_after), Heard()
        last, reported, judged = time.monotonic(), False, 0.0
        while not self._over.wait(self._pulse):
            now, phase, waits = time.monotonic(), current_phase(), is_waiting(sys._current_frames().get(self._watched))
            if now - last > self._stall_after / 2:  # this whole process was stopped; it may be working again
                stillness.forget(now)
            last, still = now, stillness.measure(now, waits)
            heartbeats = self._heartbeats
            assert heartbeats is not None
            job = heartbeats.stillness(still, heard)
            heard = heartbeats.exchange({"phase": phase, "waits": waits, "still": still, "job": job})
            if self._comm.size == 1:  # the last survivor waits for nobody
                continue
            if job < self._stall_after:
                reported = False
                continue
            if not reported:
                reported, judged = True, now
                where = f"{self._progress()}, {phase}{', waiting for the others' * waits}"
                self._say(f"no progress for {still:.1f} s in {where}")
            elif now >= judged + 4 * self._pulse:  # the others have reported too by now
                self._judge(heartbeats, phase, waits, heard)
                judged = now + self._stall_after

    def _judge(self, heartbeats: Heartbeats, phase: str, waits: bool, heard: Heard) -> None:
        silent = [peer for peer, (age, _) in heard.items() if age > self._stall_after / 2]
        if not waits:
            if self._comm.survives_losses:
                self._say("this rank hangs: it ends itself, and the others continue without it")
                os.kill(os.getpid(), signal.SIGKILL)
            self._end(f"this rank hangs, {phase}: the job ends")
        if not heartbeats.leads(silent):
            return
        hanging = [peer for peer, (_, status) in heard.items() if peer not in silent and status and not status["waits"]]
        hang = "hangs" if len(hanging) == 1 else "hang"
        blame = f"no sign of life from {names(silent)}" if silent else f"{names(hanging)} {hang}"
        if not silent and not hanging:  # no rank is lost, so MPI has nothing to notice
            self._end("all ranks wait for one another because a message was lost: the job ends")
        if self._comm.survives_losses:
            self._say(f"{blame}: dropped as soon as MPI notices it too")
            self._comm.drop(silent)
        else:
            self._end(f"{blame}: the job ends")

    def _end(self, text: str) -> NoReturn:
        self._say(f"distlenet: error: {text}; resume from the last checkpoint with --resume auto")
        time.sleep(LAST_WORDS)
        threading.Thread(target=self._comm.abort, args=(RanksLost.exit_code,), daemon=True).start()
        time.sleep(ABORT_SECONDS)
        os._exit(RanksLost.exit_code)  # MPI itself is stuck: mpirun ends the others when one has ended

    def _say(self, text: str) -> None:
        sys.stderr.write(f"[rank {self._comm.rank}/{self._comm.size}] {clean(text)}\n")
        sys.stderr.flush()


class Stillness:
    """Measures how long a thread, and the pool or library threads that work for it, have made no progress."""

    def __init__(self, thread: int, stall_after: float) -> None:
        self._busy_limit = BUSY * stall_after
        # on systems without a clock per thread, only finished pieces of work count
        self._clock = time.pthread_getcpuclockid(thread) if hasattr(time, "pthread_getcpuclockid") else None
        self._pieces, self._computed, self._helped = -1, 0.0, 0.0
        self._looked = self._piece_done = self._busy = time.monotonic()

    def forget(self, now: float) -> None:
        """Restart the measurement at ``now``, a time.monotonic()."""
        self._looked = self._piece_done = self._busy = now

    def measure(self, now: float, waits: bool) -> float:
        """Return the seconds without progress at ``now``; a thread that ``waits`` for others does not compute."""
        if pieces() != self._pieces:
            self._pieces, self._piece_done, self._busy = pieces(), now, now
        computed = time.clock_gettime(self._clock) if self._clock is not None else 0.0
        helped, seconds = working_seconds(), now - self._looked
        busy = computed - self._computed > BUSY_SHARE * seconds or helped - self._helped > HELP_SHARE * seconds
        if busy and not waits:
            self._busy = now
        self._computed, self._helped, self._looked = computed, helped, now
        still = now - self._piece_done
        return min(still, now - self._busy) if still < self._busy_limit else still


def working_seconds() -> float:
    """Return the processor seconds of this process's threads, except daemon threads (such as the watchdog itself)."""
    total = time.process_time()
    for thread in threading.enumerate():
        if thread.daemon:
            with contextlib.suppress(OSError, ValueError):  # it has ended, or the system keeps no such figure
                text = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text(encoding="ascii")
                total -= int(text.split()[0]) / 1e9
    return total


def is_waiting(frame: FrameType | None) -> bool:
    """Whether a thread, given its innermost ``frame``, is waiting for other ranks.

    It is if the innermost frame of this package is in distlenet/parallel.
    """
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(PARALLEL)


def names(ranks: list[int]) -> str:
    """Return "rank 3" or "ranks 1, 3"."""
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"
