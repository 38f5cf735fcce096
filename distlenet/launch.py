"""Starting a job of ranks, passing signals on to it, and starting it again when it dies as a whole."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from distlenet.errors import RanksLost
from distlenet.mpirun import find_mpirun, is_open_mpi, mpi_environment, mpirun_command, survives_losses
from distlenet.parallel.exit_file import EXIT_FILE, LEFT, READY
from distlenet.parallel.launcher import FAULT_TOLERANCE, STALL_AFTER
from distlenet.processes import JOB, children, end_processes

LAST_WORDS = 0.5  # seconds for a rank to leave its exit code
START_SECONDS = 5.0  # for Python and MPI to start, on top of --stall-after
NEW_STARTS = 2  # Open MPI's start with fault tolerance fails now and then on a busy machine
ECHO = 0.3  # seconds; a signal that comes again so soon is the same one, by way of the shell or a scheduler


@dataclass(frozen=True)
class Job:
    """What is to run, and how. ``arguments`` are those of distlenet: ("train", "--run", ...)."""

    ranks: int
    arguments: list[str]
    hosts: str | None = None
    fault_tolerance: bool = True
    stall_after: float = 60.0


def launch(job: Job, max_restarts: int = 0) -> int:
    """Run ``job``, again from its last checkpoint when it dies as a whole; return the exit code.

    A signal is passed on so that the ranks can save; a second one ends them at once.
    """
    arguments, new_starts, restarts = list(job.arguments), 0, 0
    before = last_checkpoint(arguments)
    while True:
        with scratch(job) as environment:
            attempt = Attempt(job, arguments, environment)
            code = attempt.run()
        if attempt.orderly:
            return code
        if not attempt.connected and new_starts < NEW_STARTS:
            new_starts += 1
            say("nothing was begun: starting anew")
            continue
        if restarts == max_restarts:
            return code
        pause = min(60.0, 0.5 * 2**restarts)
        restarts += 1
        say(f"the job died with exit code {code}: restart {restarts} of {max_restarts} in {pause:g} s")
        time.sleep(pause)
        arguments = resumed(arguments, last_checkpoint(arguments) != before)


def resumed(arguments: list[str], has_saved: bool) -> list[str]:
    """Return the arguments with which a training run goes on from its last checkpoint.

    As long as the job ``has_saved`` none of its own, one that it was told to go on from remains the one.
    """
    if not arguments or arguments[0] != "train":
        return arguments
    kept = [argument for argument in arguments if argument != "--overwrite"]
    place = next((place for place, word in enumerate(kept) if word.split("=")[0] == "--resume"), None)
    if place is not None:
        if not has_saved:
            return kept
        has_value = kept[place] == "--resume" and not "".join(kept[place + 1 : place + 2]).startswith("-")
        del kept[place : place + 1 + has_value]
    return [*kept, "--resume", "auto"]


def last_checkpoint(arguments: list[str]) -> tuple[int, int] | None:
    """Return what tells the last checkpoint of a training run from an earlier or later one, None if there is none."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    run = next((value for option, value in pairwise(words) if option == "--run"), None)
    try:
        found = Path(run, "checkpoints", "last.h5").stat()
    except (OSError, TypeError):
        return None
    return found.st_ino, found.st_mtime_ns


def say(text: str) -> None:
    """Say something of the launcher's own, apart from what the ranks print."""
    print(f"distlenet launch: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def scratch(job: Job) -> Iterator[dict[str, str]]:
    """Yield the job's environment, with directories of its own for MPI's temporary files, removed afterwards."""
    environment = mpi_environment() | {JOB: uuid.uuid4().hex, STALL_AFTER: str(job.stall_after)}
    environment.setdefault("OMPI_MCA_btl", "^ofi")  # without it Open MPI looks for fabrics for a second
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        environment.setdefault(variable, "1")
    # the root may be on another host: that sees the current directory, as it must for the run's
    shares = job.hosts and os.access(".", os.W_OK)
    folder = tempfile.mkdtemp(prefix=".distlenet-", dir=os.getcwd() if shares else None)
    shared = None
    environment[EXIT_FILE] = str(Path(folder) / "exit-code")
    if not job.hosts:  # other hosts do not have these directories
        environment["TMPDIR"] = folder
        if os.access("/dev/shm", os.W_OK):
            shared = tempfile.mkdtemp(prefix="distlenet-", dir="/dev/shm")
            environment["OMPI_MCA_btl_sm_backing_directory"] = shared
    try:
        yield environment
    finally:
        end_processes(environment[JOB])
        for directory in filter(None, (folder, shared)):
            shutil.rmtree(directory, ignore_errors=True)


class Attempt:
    """One start of mpirun.

    Afterwards ``connected``: all ranks found each other; ``orderly``: they ended by themselves, well or with a reason.
    """

    def __init__(self, job: Job, arguments: list[str], environment: dict[str, str]) -> None:
        self._tolerant = job.fault_tolerance and job.ranks > 1 and survives_losses(find_mpirun())
        if self._tolerant:
            environment[FAULT_TOLERANCE] = "ulfm"
        command = mpirun_command(job.ranks, job.hosts, self._tolerant, job.stall_after)
        self._command = [*command, sys.executable, "-m", "distlenet", *arguments]
        self._environment, self._stall_after = environment, job.stall_after
        self._exit_file = Path(environment[EXIT_FILE])
        self._asked: int | None = None  # the signal that asked the job to end
        self._asked_at = 0.0
        self._signals: list[int] = []  # to be passed on
        self._process: subprocess.Popen | None = None
        self.orderly = self.connected = False

    def run(self) -> int:
        """Start mpirun and wait for it; return the exit code of the job."""
        say(" ".join(self._command))
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
        before = {number: signal.signal(number, self._pass_on) for number in numbers}
        try:
            # in a session of its own: Ctrl-C at the terminal comes here alone, and is passed on gently
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, start_new_session=True
            )
            self._send()  # what came before there was anybody to hear it
            self._see_it_started()
            code = self._wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        self.connected = self._exit_file.with_name(READY).exists()
        told = next((int(file.read_text(encoding="utf-8") or 1) for file in self._farewells()), None)
        killed = code < 0  # mpirun, and ranks that it leaves behind in their start complain of what they miss
        # a job that a rank aborts is ended by mpirun with SIGTERM: to the other ranks that is like being asked to end
        aborted = self._tolerant and code != 0 and told == 128 + signal.SIGTERM
        self.orderly = self._asked is not None or told == 0 or (told is not None and not killed and not aborted)
        if told is not None:  # without it an exit code that looks like one of ours is MPI's own
            code = told
        elif killed:
            code = 128 - code
        elif code == 0 and self.connected:  # mpirun's word where ranks may die: not one has ended by itself
            say("all ranks died")
            code = RanksLost.exit_code
        return code if self._asked is None else 128 + self._asked

    def _see_it_started(self) -> None:
        """Wait until all ranks are connected; end the job if one dies before: the others would wait for ever.

        From then on, MPI itself notices.
        """
        exit_file, seen, died = self._exit_file, set(), None
        ready, now = exit_file.with_name(READY), time.monotonic()
        deadline = now + START_SECONDS + (self._stall_after or 60.0)
        while self._process.poll() is None and not ready.exists() and not exit_file.exists():
            here, now = children(self._process.pid), time.monotonic()
            if seen - here:
                died = died or now  # or it ended by itself: then another one says why
            if (died and now > died + LAST_WORDS) or now > deadline:
                say("a rank died before all were connected" if died else "the ranks do not find each other")
                self._end()
                return
            seen |= here
            time.sleep(0.05)

    def _wait(self) -> int:
        """Return the exit code of mpirun; 0 if it had to be ended, since a rank hangs and the others have left.

        No rank waits for it any more, so neither MPI nor another rank can notice.
        """
        since = None
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.wait(min(0.5, self._stall_after or 0.5))
            now = time.monotonic()
            since = since or (now if self._farewells() else None)
            if since and 0 < self._stall_after < now - since:
                say(f"the job was done {self._stall_after:g} s ago, but a rank hangs: it is ended")
                self._end()
                self._process.wait()
                return 0

    def _farewells(self) -> list[Path]:
        """Return the files in which ranks have left their exit code, the root's first."""
        return [path for path in (self._exit_file, self._exit_file.with_name(LEFT)) if path.exists()]

    def _end(self) -> None:
        """Kill the whole job."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        end_processes(self._environment[JOB])

    def _pass_on(self, number: int, frame: object) -> None:
        """Ask the ranks to save and, unless for SIGUSR1, to end."""
        if number != signal.SIGUSR1 and self._asked is not None:
            if self._process and time.monotonic() - self._asked_at > ECHO:
                self._end()
            return
        if number != signal.SIGUSR1:
            self._asked, self._asked_at = number, time.monotonic()
            # Open MPI's mpirun answers SIGTERM by killing the ranks soon, and only hands them SIGUSR2; MPICH's
            # hands on both signals alike, but not SIGUSR2
            number = signal.SIGUSR2 if is_open_mpi(self._command[0]) else number
        self._signals.append(number)
        self._send()

    def _send(self) -> None:
        while self._process and self._signals:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(self._signals.pop(0))
