"""Starting a job of ranks, passing signals on to it, and starting it again when it dies as a whole."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from distlenet.errors import RanksLost
from distlenet.handshake import ABORTED, ASKED, FAULT_TOLERANCE, LEFT, READY, STALL_AFTER
from distlenet.launching.mpirun import mpirun_command, python_command, which_mpi
from distlenet.launching.scratch import THREADS, Guardian, Scratch, scratch
from distlenet.launching.signals import Requests
from distlenet.processes import GRACE, children, end_processes, identity, processes
from distlenet.runs.lock import JOB as OWNER
from distlenet.runs.lock import notes
from distlenet.streams import clean

LAST_WORDS = 0.5  # seconds for a rank to leave its exit code
ABORT_SECONDS = 30.0  # for mpirun to end an aborted job: it takes a second, or hangs
START_SECONDS = 5.0  # for Python and MPI to start, on top of --stall-after
NEW_STARTS = 2  # Open MPI's start with fault tolerance fails now and then on a busy machine
SAVING = ("train", "repeat", "compare")  # the commands that answer SIGUSR1


@dataclass(frozen=True)
class Job:
    """What is to run, and how. ``arguments`` are those of distlenet: ("train", "--run", ...)."""

    ranks: int
    arguments: list[str]
    run: Path | None = None  # the directory of a training run, which is resumed after a restart
    hosts: str | None = None
    fault_tolerance: bool = True
    stall_after: float = 60.0


def launch(job: Job, max_restarts: int = 0) -> int:
    """Run ``job``, again from its last checkpoint when it dies as a whole; return the exit code.

    A signal is passed on so that the ranks can save; a second one ends them at once.
    """
    with Requests() as requests, Guardian() as guardian:
        name, new_starts, restarts = f"{identity()}-{uuid.uuid4().hex}", 0, 0
        while requests.asked is None:
            with scratch(name, job.hosts) as place:
                guardian.watch(place)
                attempt = Attempt(job, arguments_now(job, name), place, requests, guardian)
                code = attempt.run()
            guardian.watch(None)
            if attempt.orderly:
                return code
            if not attempt.connected and new_starts < NEW_STARTS:
                new_starts += 1
                say("no rank had started its work: starting again")
                continue
            if restarts == max_restarts:
                return code
            pause = min(60.0, 0.5 * 2**restarts)
            restarts += 1
            say(f"the job died with exit code {code}: restart {restarts} of {max_restarts} in {pause:g} s")
            requests.pause(pause)
        return 128 + requests.asked


def arguments_now(job: Job, name: str) -> list[str]:
    """Return the arguments to start ``job``, called ``name``, with: its own, until the run in its directory is its own.

    From then on the run is resumed from its newest checkpoint. Before that, --overwrite may not have replaced an old
    run yet, whose checkpoints are not this job's.
    """
    if job.run is None or notes(job.run / "lock").get(OWNER) != name:
        return job.arguments
    return [*(word for word in job.arguments if word != "--overwrite"), "--resume", "auto"]  # the last --resume counts


def say(text: str) -> None:
    """Say something of the launcher's own, apart from what the ranks print."""
    with contextlib.suppress(OSError, ValueError):  # a terminal that was closed must not end the job
        print(f"distlenet launch: {clean(text)}", file=sys.stderr, flush=True)


class Attempt:
    """One start of mpirun.

    Afterwards ``connected``: all ranks found each other; ``orderly``: they ended by themselves, well or with a reason.
    """

    def __init__(self, job: Job, arguments: list[str], place: Scratch, requests: Requests, guardian: Guardian) -> None:
        self._tolerant = job.fault_tolerance and job.ranks > 1 and which_mpi().survives_losses
        self._environment = place.environment | {STALL_AFTER: str(job.stall_after)}
        if self._tolerant:
            self._environment[FAULT_TOLERANCE] = "ulfm"
        ours = sorted(name for name in self._environment if name.startswith(("DISTLENET_", *THREADS)))
        command = mpirun_command(job.ranks, job.hosts, self._tolerant, job.stall_after, ours)
        self._command = [*command, *python_command("distlenet", *arguments)]
        # Open MPI's mpirun answers SIGTERM by killing the ranks soon, and only hands them SIGUSR2; MPICH's
        # hands on SIGTERM alone
        self._carrier = signal.SIGUSR2 if which_mpi().is_open_mpi else signal.SIGTERM
        self._saves = arguments[0] in SAVING
        self._stall_after, self._place = job.stall_after, place
        self._exit_file, self._ready = place.exit_file, place.exit_file.with_name(READY)
        self._requests, self._guardian = requests, guardian
        self._signals: list[int] = []  # to be passed on
        self._process: subprocess.Popen[bytes] | None = None
        self.mark, self.can_be_stopped = place.mark, job.hosts is None
        self.orderly = self.connected = False

    def run(self) -> int:
        """Start mpirun and wait for it; return the exit code of the job."""
        say(" ".join(self._command))
        self._requests.job = self
        try:
            if self._requests.asked is not None:  # before there was a job to hear it
                self.orderly = True
                return 128 + self._requests.asked
            # in a session of its own: signals from the terminal come here alone, and are passed on gently
            self._process = mpirun = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, start_new_session=True
            )
            self._guardian.watch(self._place, mpirun.pid, self._carrier)
            self._send()  # what came before there was anybody to hear it
            self._see_it_started(mpirun)
            code = self._wait(mpirun)
            if code < 0 and self._ready.exists():
                self._let_orphans_save()
        finally:
            self._requests.job = None
        self.connected = self._ready.exists()
        told = next(iter(self._codes_left()), None)
        killed = code < 0  # mpirun, and ranks that it leaves behind in their start complain of what they miss
        # a job that a rank aborts is ended by mpirun with SIGTERM: to the other ranks that is like being asked to end
        aborted = self._tolerant and code != 0 and told == 128 + signal.SIGTERM
        asked = self._requests.asked
        self.orderly = asked is not None or told == 0 or (told is not None and not killed and not aborted)
        if told is not None:  # without it an exit code that looks like one of ours is MPI's own
            code = told
        elif killed:
            code = 128 - code
        elif code == 0 and self.connected:  # mpirun's word where ranks may die: not one has ended by itself
            say("all ranks died")
            code = RanksLost.exit_code
        return code if asked is None or told is not None else 128 + asked

    def _see_it_started(self, mpirun: subprocess.Popen[bytes]) -> None:
        """Wait until all ranks are connected; end the job if one dies before: the others would wait for ever.

        From then on, MPI itself notices.
        """
        seen, died, now = set[int](), 0.0, self._requests.clock()
        deadline = now + START_SECONDS + (self._stall_after or 60.0)
        while mpirun.poll() is None and not self._ready.exists() and not self._exit_file.exists():
            here, now = children(mpirun.pid), self._requests.clock()
            if seen - here:
                died = died or now  # or it ended by itself: then another one says why
            if (died and now > died + LAST_WORDS) or now > deadline:
                say("a rank died before all were connected" if died else "the ranks do not find each other")
                self.end()
                return
            seen |= here
            time.sleep(0.05)

    def _wait(self, mpirun: subprocess.Popen[bytes]) -> int:
        """Return the exit code of mpirun, or end it where it would never end by itself.

        A rank may hang when the others have left: none waits for it, so nobody notices. Then the code is 0.
        And mpirun may hang while it ends a job that a rank aborted.
        """
        aborted = self._exit_file.with_name(ABORTED)
        left_since = aborted_since = None
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return mpirun.wait(min(0.5, self._stall_after or 0.5))
            now = self._requests.clock()
            left_since = left_since or (now if self._codes_left() else None)
            aborted_since = aborted_since or (now if aborted.exists() else None)
            if left_since and 0 < self._stall_after < now - left_since:
                say(f"the job was done {self._stall_after:g} s ago, but a rank hangs: it is ended")
                self.end()
                mpirun.wait()
                return 0
            if aborted_since and now - aborted_since > ABORT_SECONDS:
                say("a rank aborted the job, but mpirun hangs: it is ended")
                self.end()
                mpirun.wait()
                return RanksLost.exit_code

    def _let_orphans_save(self) -> None:
        """Give the ranks of an mpirun that was killed the time to notice, save and end."""
        until = time.monotonic() + GRACE
        while processes(self.mark) and time.monotonic() < until:
            time.sleep(0.05)

    def _codes_left(self) -> list[int]:
        """Return the exit codes that ranks have left in files, the root's first."""
        paths = [path for path in (self._exit_file, self._exit_file.with_name(LEFT)) if path.exists()]
        texts = [path.read_text(encoding="utf-8") for path in paths]
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
                self._exit_file.with_name(ASKED).write_text(str(number), encoding="utf-8")
            number = self._carrier
        elif not self._saves:
            return  # it would end these ranks
        self._signals.append(number)
        self._send()

    def _send(self) -> None:
        while self._process and self._signals:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(self._signals.pop(0))
