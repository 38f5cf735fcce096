"""One start of a job: mpirun is started, watched, sent signals, and ended if it would never end by itself."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from distlenet.errors import RanksLost
from distlenet.handshake import ABORTED, ASKED, FAULT_TOLERANCE, JOINS, LEFT, READY, STALL_AFTER, STUCK
from distlenet.launching.door import Door, why_fixed
from distlenet.launching.job import Job
from distlenet.launching.scratch import THREADS, Guardian, Scratch
from distlenet.launching.signals import Requests
from distlenet.processes import GRACE, children, end_processes, processes

EXIT_SECONDS = 0.5  # time for a rank to write its exit code
ABORT_SECONDS = 30.0  # time for mpirun to end an aborted job; it usually takes a second, but may hang
START_SECONDS = 5.0  # time for Python and MPI to start, on top of --stall-after


@dataclass(frozen=True)
class End:
    """How an attempt ended."""

    code: int
    orderly: bool  # the ranks ended by themselves, with success or with an error
    connected: bool = False  # all ranks had found each other
    stuck: bool = False  # they hung in MPI while another one joined


class Attempt:
    """One start of ``job`` with these ``arguments``, in the folders ``place``."""

    def __init__(self, job: Job, arguments: list[str], place: Scratch, requests: Requests, guardian: Guardian) -> None:
        self._job, self._place, self._requests, self._guardian = job, place, requests, guardian
        self._environment = place.environment | dict(job.variables) | {STALL_AFTER: str(job.stall_after)}
        if job.survives_losses:
            self._environment[FAULT_TOLERANCE] = "ulfm"
        fixed = why_fixed(arguments[0], job.ranks, job.starter, job.fault_tolerance, job.returns)
        self._door = Door(place.exit_file.parent, job.ranks, fixed)
        ours = sorted(name for name in self._environment if name.startswith(("DISTLENET_", *THREADS)))
        self._command = job.command(arguments, ours)
        self._signals: list[int] = []  # to be passed on
        self._process: subprocess.Popen[bytes] | None = None
        self.mark, self.can_be_stopped = place.mark, job.is_here

    def run(self) -> End:
        """Start mpirun, wait for it, and return how the job ended."""
        job, requests = self._job, self._requests
        job.say(" ".join(self._command))
        requests.job = self
        try:
            if requests.asked is not None:  # the signal came before this job was started
                return End(128 + requests.asked, orderly=True)
            # in a separate session, so that signals from the terminal reach only this process, which forwards them
            self._process = mpirun = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if job.output else None,
                stderr=subprocess.STDOUT if job.output else None,
                start_new_session=True,
            )
            reader = pass_lines(mpirun.stdout, job.output)
            self._guardian.watch(self._place, mpirun.pid, job.carrier)
            self._send()  # signals that came before mpirun was started
            self._wait_until_started(mpirun)
            code = self._wait(mpirun)
            if code < 0 and self._has(READY):
                self._let_orphans_save()
            reader.join(EXIT_SECONDS)  # not longer: a process that outlives mpirun may hold the pipe
            return self._judge(code)
        finally:
            requests.job = None
            self._door.close()

    def _judge(self, code: int) -> End:
        """Return how the job ended, whose mpirun returned ``code``."""
        left, asked = next(iter(self._exit_codes()), None), self._requests.asked
        killed = code < 0  # mpirun was killed; ranks that were still starting then end with errors
        # if a rank aborts, mpirun ends the job with SIGTERM, which the other ranks take for a request to end
        aborted = self._job.survives_losses and code != 0 and left == 128 + signal.SIGTERM
        orderly = asked is not None or left == 0 or (left is not None and not killed and not aborted)
        connected = self._has(READY)
        if left is not None:  # otherwise the exit code is MPI's, even if it equals one of distlenet's
            code = left
        elif killed:
            code = 128 - code
        elif code == 0 and connected:  # with fault tolerance mpirun reports 0, but no rank ended by itself
            self._job.say("all ranks died")
            code = RanksLost.exit_code
        if asked is not None and left is None:
            code = 128 + asked
        return End(code, orderly, connected, self._has(STUCK))

    def _wait_until_started(self, mpirun: subprocess.Popen[bytes]) -> None:
        """Wait until all ranks are connected; end the job if one dies before, since the others would wait forever.

        Later deaths are noticed by MPI.
        """
        seen, died, now = set[int](), 0.0, self._requests.clock()
        deadline = now + START_SECONDS + (self._job.stall_after or 60.0)
        while mpirun.poll() is None and not self._has(READY) and not self._place.exit_file.exists():
            now = self._requests.clock()
            here = set() if self._job.starter else children(mpirun.pid)  # srun's children are not ranks
            if seen - here:
                died = died or now  # if it ended by itself, an exit file will appear
            if (died and now > died + EXIT_SECONDS) or now > deadline:
                why = "a rank died before all ranks were connected" if died else "the ranks cannot find each other"
                self._job.say(why)
                self.end()
                return
            seen |= here
            time.sleep(0.05)

    def _wait(self, mpirun: subprocess.Popen[bytes]) -> int:
        """Return the exit code of mpirun, or end it if it would never end by itself.

        A rank may hang after the others have left. No rank waits for it, so neither MPI nor another rank notices; the
        exit code is 0 then. mpirun itself may hang while it ends a job that a rank aborted.
        """
        stall_after = self._job.stall_after
        left_since = aborted_since = root_since = None
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return mpirun.wait(min(0.5, stall_after or 0.5))
            now = self._requests.clock()
            left_since = left_since or (now if self._exit_codes() else None)
            aborted_since = aborted_since or (now if self._has(ABORTED) else None)
            root_since = root_since or (now if self._place.exit_file.exists() else None)
            if root_since and now - root_since > EXIT_SECONDS:  # nobody waits for those that were about to join
                end_processes(self.mark, having=f"{JOINS}=")
            if left_since and 0 < stall_after < now - left_since:
                self._job.say(f"the job was done {stall_after:g} s ago, but a rank hangs: ending it")
                self.end()
                mpirun.wait()
                return 0
            if aborted_since and now - aborted_since > ABORT_SECONDS:
                self._job.say("a rank aborted the job, but mpirun hangs: ending it")
                self.end()
                mpirun.wait()
                return RanksLost.exit_code

    def _let_orphans_save(self) -> None:
        """Give the ranks of a killed mpirun time to notice, save and end."""
        until = time.monotonic() + GRACE
        while processes(self.mark) and time.monotonic() < until:
            time.sleep(0.05)

    def _has(self, name: str) -> bool:
        return self._place.file(name).exists()

    def _exit_codes(self) -> list[int]:
        """Return the exit codes that ranks have written to files, the root's first."""
        paths = self._place.exit_file, self._place.file(LEFT)
        texts = [path.read_text(encoding="utf-8") for path in paths if path.exists()]
        return [int(text) for text in texts if text]  # empty: the rank was killed between opening and writing it

    def end(self) -> None:
        """Kill the whole job."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        end_processes(self.mark)

    def pass_on(self, number: int) -> None:
        """Ask the ranks to save and, unless for SIGUSR1, to end."""
        if number != signal.SIGUSR1:
            with contextlib.suppress(OSError):
                self._place.file(ASKED).write_text(str(number), encoding="utf-8")
            number = self._job.carrier
        elif not self._job.saves:
            return
        self._signals.append(number)
        self._send()

    def _send(self) -> None:
        while self._process and self._signals:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(self._signals.pop(0))


def pass_lines(pipe: IO[bytes] | None, output: Callable[[str], object] | None) -> threading.Thread:
    """Call ``output`` with each line that the job prints into ``pipe``, in a thread, which is returned."""

    def work() -> None:
        if pipe and output:
            with pipe:
                for line in pipe:
                    output(line.decode(errors="replace"))

    reader = threading.Thread(target=work, name="output of the ranks", daemon=True)
    reader.start()
    return reader
