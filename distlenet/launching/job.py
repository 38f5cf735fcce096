"""Starting a job of ranks, forwarding signals to it, and restarting it if the whole job dies."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from distlenet.errors import RanksLost
from distlenet.handshake import ABORTED, ASKED, FAULT_TOLERANCE, JOINS, LEFT, READY, STALL_AFTER, STUCK
from distlenet.launching.door import Door, why_fixed
from distlenet.launching.mpirun import mpirun_command, python_command, which_mpi
from distlenet.launching.scratch import THREADS, Guardian, Scratch, scratch
from distlenet.launching.signals import Requests
from distlenet.processes import GRACE, children, end_processes, identity, processes
from distlenet.runs.lock import JOB as OWNER
from distlenet.runs.lock import notes
from distlenet.streams import clean

EXIT_SECONDS = 0.5  # time for a rank to write its exit code
ABORT_SECONDS = 30.0  # time for mpirun to end an aborted job; it usually takes a second, but may hang
START_SECONDS = 5.0  # time for Python and MPI to start, on top of --stall-after
NEW_STARTS = 2  # on a busy machine, Open MPI with fault tolerance sometimes fails to start
SAVING = ("train", "repeat", "compare")  # the commands that handle SIGUSR1
ERROR = re.compile(r"(?:\[rank \d+/\d+\] )?distlenet: error: (.*)")  # a line by which a rank reports why it ends


@dataclass(frozen=True)
class Job:
    """A job to run. ``arguments`` are those of distlenet: ("train", "--run", ...).

    ``output`` is called with each line that the job prints; None: it prints on the streams of this process.
    """

    ranks: int
    arguments: list[str]
    run: Path | None = None  # the run directory of a training, which is resumed after a restart
    hosts: str | None = None
    fault_tolerance: bool = True
    stall_after: float = 60.0
    output: Callable[[str], object] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)  # of the environment, besides those of this process
    module: str = "distlenet"  # the ranks' program
    starter: tuple[str, ...] = ()  # words that start ranks in an allocation of a cluster, without the number of ranks
    returns: bool = False  # a lost rank of a training is replaced

    def say(self, text: str) -> None:
        """Print a message of the launcher where the ranks print."""
        if self.output:
            self.output(f"distlenet launch: {clean(text)}\n")
        else:
            say(text)


def launch(job: Job, max_restarts: int = 0) -> int:
    """Run ``job`` and return its exit code; if the whole job dies, restart it from its last checkpoint.

    A signal is forwarded so that the ranks can save; a second one ends them at once.
    """
    with Requests() as requests, Guardian() as guardian:
        name, new_starts, restarts = f"{identity()}-{uuid.uuid4().hex}", 0, 0
        while requests.asked is None:
            with scratch(name, job.hosts or " ".join(job.starter) or None) as place:
                guardian.watch(place)
                attempt = Attempt(job, arguments_now(job, name), place, requests, guardian)
                code = attempt.run()
            guardian.watch(None)
            if attempt.orderly:
                return code
            if attempt.stuck:
                job.say("a rank was lost at the very moment when another one joined: starting again from the last save")
                continue
            if not attempt.connected and new_starts < NEW_STARTS:
                new_starts += 1
                job.say("the job ended before its ranks started to work: starting it again")
                continue
            if restarts == max_restarts:
                return code
            pause = min(60.0, 0.5 * 2**restarts)
            restarts += 1
            job.say(f"the job died with exit code {code}: restart {restarts} of {max_restarts} in {pause:g} s")
            requests.pause(pause)
        return 128 + requests.asked


def arguments_now(job: Job, name: str) -> list[str]:
    """Return the arguments for the next start of ``job``, called ``name``.

    Once the run in its directory was started by this job, it is resumed from its newest checkpoint. Before that, the
    directory may still hold an old run that --overwrite has not replaced yet, and the job keeps its arguments.
    """
    if job.run is None or notes(job.run / "lock").get(OWNER) != name:
        return job.arguments
    return [*(word for word in job.arguments if word != "--overwrite"), "--resume", "auto"]  # the last --resume counts


def say(text: str) -> None:
    """Print a message of the launcher on stderr, marked to tell it from the ranks' output."""
    with contextlib.suppress(OSError, ValueError):  # a closed terminal must not end the job
        print(f"distlenet launch: {clean(text)}", file=sys.stderr, flush=True)


class Attempt:
    """One start of mpirun.

    Afterwards, ``connected`` tells whether all ranks found each other, and ``orderly`` whether they ended by
    themselves, with success or with an error.
    """

    def __init__(self, job: Job, arguments: list[str], place: Scratch, requests: Requests, guardian: Guardian) -> None:
        self._tolerant = job.fault_tolerance and job.ranks > 1 and which_mpi().survives_losses
        self._environment = place.environment | dict(job.variables) | {STALL_AFTER: str(job.stall_after)}
        if self._tolerant:
            self._environment[FAULT_TOLERANCE] = "ulfm"
        fixed = why_fixed(arguments[0], job.ranks, job.starter, job.fault_tolerance, job.returns)
        self._door = Door(place.exit_file.parent, job.ranks, fixed)
        ours = sorted(name for name in self._environment if name.startswith(("DISTLENET_", *THREADS)))
        command = [*job.starter, "-n", str(job.ranks)]
        if not job.starter:
            command = mpirun_command(job.ranks, job.hosts, self._tolerant, job.stall_after, ours)
        self._command = [*command, *python_command(job.module, *arguments)]
        # On SIGTERM, Open MPI's mpirun soon kills the ranks; it forwards only SIGUSR2. MPICH's forwards only SIGTERM.
        # srun forwards both.
        by_srun = Path(command[0]).name == "srun"
        self._carrier = signal.SIGUSR2 if by_srun or which_mpi().is_open_mpi else signal.SIGTERM
        self._saves, self._say, self._output = arguments[0] in SAVING, job.say, job.output
        self._stall_after, self._place, self._by_cluster = job.stall_after, place, bool(job.starter)
        self._exit_file, self._ready = place.exit_file, place.exit_file.with_name(READY)
        self._requests, self._guardian = requests, guardian
        self._signals: list[int] = []  # to be passed on
        self._process: subprocess.Popen[bytes] | None = None
        self.mark, self.can_be_stopped = place.mark, job.hosts is None and not job.starter
        self.orderly = self.connected = self.stuck = False

    def run(self) -> int:
        """Start mpirun and wait for it; return the exit code of the job."""
        self._say(" ".join(self._command))
        self._requests.job = self
        try:
            if self._requests.asked is not None:  # the signal came before this job was started
                self.orderly = True
                return 128 + self._requests.asked
            # in a separate session, so that signals from the terminal reach only this process, which forwards them
            self._process = mpirun = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self._output else None,
                stderr=subprocess.STDOUT if self._output else None,
                start_new_session=True,
            )
            reader = self._read(mpirun.stdout, self._output)
            self._guardian.watch(self._place, mpirun.pid, self._carrier)
            self._send()  # signals that came before mpirun was started
            self._wait_until_started(mpirun)
            code = self._wait(mpirun)
            if code < 0 and self._ready.exists():
                self._let_orphans_save()
            reader.join(EXIT_SECONDS)  # not longer: a process that outlives mpirun may hold the pipe
        finally:
            self._requests.job = None
            self._door.close()
        self.connected, self.stuck = self._ready.exists(), self._exit_file.with_name(STUCK).exists()
        left = next(iter(self._exit_codes()), None)
        killed = code < 0  # mpirun was killed; ranks that were still starting then end with errors
        # if a rank aborts, mpirun ends the job with SIGTERM, which the other ranks take for a request to end
        aborted = self._tolerant and code != 0 and left == 128 + signal.SIGTERM
        asked = self._requests.asked
        self.orderly = asked is not None or left == 0 or (left is not None and not killed and not aborted)
        if left is not None:  # otherwise the exit code is MPI's, even if it equals one of distlenet's
            code = left
        elif killed:
            code = 128 - code
        elif code == 0 and self.connected:  # with fault tolerance mpirun reports 0, but no rank ended by itself
            self._say("all ranks died")
            code = RanksLost.exit_code
        return code if asked is None or left is not None else 128 + asked

    @staticmethod
    def _read(pipe: IO[bytes] | None, output: Callable[[str], object] | None) -> threading.Thread:
        """Call ``output`` with each line that the job prints, in a thread, which is returned."""

        def work() -> None:
            if pipe and output:
                with pipe:
                    for line in pipe:
                        output(line.decode(errors="replace"))

        reader = threading.Thread(target=work, name="output of the ranks", daemon=True)
        reader.start()
        return reader

    def _wait_until_started(self, mpirun: subprocess.Popen[bytes]) -> None:
        """Wait until all ranks are connected; end the job if one dies before, since the others would wait forever.

        Later deaths are noticed by MPI.
        """
        seen, died, now = set[int](), 0.0, self._requests.clock()
        deadline = now + START_SECONDS + (self._stall_after or 60.0)
        while mpirun.poll() is None and not self._ready.exists() and not self._exit_file.exists():
            now = self._requests.clock()
            here = set() if self._by_cluster else children(mpirun.pid)  # srun's children are not ranks
            if seen - here:
                died = died or now  # if it ended by itself, an exit file will appear
            if (died and now > died + EXIT_SECONDS) or now > deadline:
                self._say("a rank died before all ranks were connected" if died else "the ranks cannot find each other")
                self.end()
                return
            seen |= here
            time.sleep(0.05)

    def _wait(self, mpirun: subprocess.Popen[bytes]) -> int:
        """Return the exit code of mpirun, or end it if it would never end by itself.

        A rank may hang after the others have left. No rank waits for it, so neither MPI nor another rank notices; the
        exit code is 0 then. mpirun itself may hang while it ends a job that a rank aborted.
        """
        aborted = self._exit_file.with_name(ABORTED)
        left_since = aborted_since = root_since = None
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return mpirun.wait(min(0.5, self._stall_after or 0.5))
            now = self._requests.clock()
            left_since = left_since or (now if self._exit_codes() else None)
            aborted_since = aborted_since or (now if aborted.exists() else None)
            root_since = root_since or (now if self._exit_file.exists() else None)
            if root_since and now - root_since > EXIT_SECONDS:  # nobody waits for those that were about to join
                end_processes(self.mark, having=f"{JOINS}=")
            if left_since and 0 < self._stall_after < now - left_since:
                self._say(f"the job was done {self._stall_after:g} s ago, but a rank hangs: ending it")
                self.end()
                mpirun.wait()
                return 0
            if aborted_since and now - aborted_since > ABORT_SECONDS:
                self._say("a rank aborted the job, but mpirun hangs: ending it")
                self.end()
                mpirun.wait()
                return RanksLost.exit_code

    def _let_orphans_save(self) -> None:
        """Give the ranks of a killed mpirun time to notice, save and end."""
        until = time.monotonic() + GRACE
        while processes(self.mark) and time.monotonic() < until:
            time.sleep(0.05)

    def _exit_codes(self) -> list[int]:
        """Return the exit codes that ranks have written to files, the root's first."""
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
            return  # the signal would end these ranks
        self._signals.append(number)
        self._send()

    def _send(self) -> None:
        while self._process and self._signals:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(self._signals.pop(0))
