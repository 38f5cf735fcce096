"""New ranks that join a running job of Open MPI: in place of lost ones, or to enlarge it.

The root starts the new process in a thread, by MPI's Spawn, while all ranks continue to train. The newcomer prepares
alone. It shows the job's secret, gets from the root what it needs to prepare, and sends back the facts by which the
root judges whether it fits. Then it waits until all ranks take it in, see ``RecoverableCommunicator.grow``.
"""

import contextlib
import hmac
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from secrets import token_hex
from typing import Any, NoReturn

import numpy as np
from mpi4py import MPI

from distlenet.handshake import EXIT_FILE, JOINS, STUCK, handshake_file, has_ended, secret
from distlenet.processes import end_processes, identity, is_alive

TAG, JOINING = 32_766, 32_765
TRANSPORTS = ("OMPI_MCA_btl", "OMPI_MCA_btl_tcp_if_include")  # a new rank uses the same
# ssh passes no variables on: MPI passes these, in at most 255 bytes, and the root those of the project
NEEDED = (EXIT_FILE, "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
POLL = 0.01  # seconds between two looks for a message, in a thread next to the training
CHECK = 0.1  # seconds between two looks whether the job still exists
LIMIT = 1.5  # seconds; joining takes some hundredths of one, but MPI never returns if a rank dies within its last part


class Recruit:
    """A process that is to become a rank, seen from the root.

    ``ready``: it may be taken in. ``refusal``: why it cannot join. ``welcome`` (JSON) is what it needs to prepare;
    ``judge`` returns why a process with these facts does not fit, or None. It has ``patience`` seconds (0: no limit).
    """

    def __init__(
        self, host: str | None, welcome: Any, judge: Callable[[dict[str, Any]], str | None], patience: float
    ) -> None:
        self.ready, self.final = False, False
        self.refusal: str | None = None
        self.host = ""
        self.pair: MPI.Intracomm | None = None
        self._host, self._welcome, self._judge, self._patience = host, welcome, judge, patience
        self._name = f"{identity()}-{token_hex(8)}"  # in the environment of this new process alone
        self._deadline = time.monotonic() + patience if patience else float("inf")
        threading.Thread(target=self._work, name="recruit", daemon=True).start()

    def look(self) -> None:
        """Notice if the process takes too long."""
        if not (self.ready or self.refusal) and time.monotonic() > self._deadline:
            self.refusal, self.final = f"it was not ready within {self._patience:g} s", True
            self.end()

    def dismiss(self) -> None:
        """Let the process end, if it has started."""
        self.refusal = self.refusal or "it is not needed"
        if self.pair:
            with contextlib.suppress(MPI.Exception):
                send(self.pair, 1, {"join": False})
        else:
            self.end()

    def call(self) -> None:
        """Tell the process to join now."""
        assert self.pair is not None
        send(self.pair, 1, {"join": True})

    def end(self) -> None:
        """Kill the process, which has not joined, if it is on this host; on another it ends when it becomes ready."""
        end_processes(f"{JOINS}={self._name}")

    def _work(self) -> None:
        try:
            try:
                between = MPI.COMM_SELF.Spawn(sys.executable, sys.orig_argv[1:], 1, self._place())
            except MPI.Exception as error:
                self.refusal = f"{sys.executable} cannot be started there ({error})"
                return
            between.Set_errhandler(MPI.ERRORS_RETURN)
            pair = between.Merge(high=False)
            pair.Set_errhandler(MPI.ERRORS_RETURN)
            if not hmac.compare_digest(str(receive(pair, 1)), secret()):
                self._refuse(pair, "it does not know the job's secret")
                return
            ours = {name: value for name, value in os.environ.items() if name.startswith("DISTLENET_")}
            send(pair, 1, {"environment": ours, "welcome": self._welcome})
            found = receive(pair, 1)
            self.host = found["host"]
            reason = found["error"] or self._judge(found)
            if reason or self.refusal:
                self._refuse(pair, reason or "")
            else:
                self.pair, self.ready = pair, True
        except (MPI.Exception, ValueError) as error:
            self.refusal = f"it was lost while it started ({error})"

    def _refuse(self, pair: MPI.Intracomm, reason: str) -> None:
        self.refusal, self.final = self.refusal or reason, True
        with contextlib.suppress(MPI.Exception):
            send(pair, 1, {"join": False})

    def _place(self) -> MPI.Info:
        """Return where and how to start the process."""
        info = MPI.Info.Create()
        variables = {JOINS: self._name, "OMPI_MCA_mpi_yield_when_idle": "1"}
        variables |= {name: os.environ[name] for name in TRANSPORTS if name in os.environ}
        values = {
            "PMIX_ENVAR": "\n".join(f"{name}={value}" for name, value in variables.items()),
            "env": "\n".join(f"{name}={os.environ[name]}" for name in NEEDED if name in os.environ),
            "map_by": ":OVERSUBSCRIBE",
            "bind_to": "none",
            "wdir": os.getcwd(),
        }
        for name, value in values.items() | ({("host", self._host)} if self._host else set()):
            info.Set(name, value)
        return info


class RunningJob:
    """The job, seen from a process that is about to join it: see Parent."""

    def __init__(self) -> None:
        between = MPI.Comm.Get_parent()
        between.Set_errhandler(MPI.ERRORS_RETURN)
        with or_end():
            self._pair = between.Merge(high=True)
            self._pair.Set_errhandler(MPI.ERRORS_RETURN)
            send(self._pair, 0, secret())
            found = receive(self._pair, 0)
        if "join" in found:  # refused
            leave()
        os.environ.update(found["environment"])
        self.welcome = found["welcome"]

    def show(self, facts: dict[str, Any]) -> None:
        """Send the facts by which the root judges this process."""
        with or_end():
            send(self._pair, 0, {"host": os.uname().nodename, "error": None, **facts})

    def decline(self, reason: str) -> NoReturn:
        """End this process, which cannot join."""
        with or_end():
            send(self._pair, 0, {"host": os.uname().nodename, "error": reason})
            receive(self._pair, 0)
        leave()

    def join(self) -> MPI.Intracomm:
        """Wait to be called, and return the communicator of all ranks."""
        with or_end():
            if not receive(self._pair, 0)["join"]:
                leave()
            with limited(leave):
                between = MPI.COMM_SELF.Create_intercomm(0, self._pair, 0, JOINING)
                between.Set_errhandler(MPI.ERRORS_RETURN)
                merged = between.Merge(high=True)
            del os.environ[JOINS]  # from now on it is a rank like any other
            return merged


def merge(comm: MPI.Intracomm, recruit: Recruit | None) -> MPI.Intracomm | None:
    """Return the communicator of ``comm`` and the new rank; None if a rank was lost. All ranks of ``comm`` call it.

    ``recruit`` is given on the root. Raises MPI.Exception on every rank if one of them was lost.
    """
    between = merged = None
    try:
        if recruit:
            recruit.call()
        with limited(recruit.end) if recruit else contextlib.nullcontext():  # it may hang
            between = comm.Create_intercomm(0, recruit.pair if recruit and recruit.pair else MPI.COMM_SELF, 1, JOINING)
        between.Set_errhandler(MPI.ERRORS_RETURN)
    except MPI.Exception:
        comm.Revoke()  # else the others would wait for this rank
    if not comm.Agree(int(between is not None)) or between is None:
        return None
    try:
        with limited(start_again):
            merged = between.Merge(high=False)
    except MPI.Exception:
        between.Revoke()
    if not comm.Agree(int(merged is not None)):
        if merged:
            merged.Revoke()
        return None
    return merged


@contextlib.contextmanager
def limited(give_up: Callable[[], object]) -> Iterator[None]:
    """Call ``give_up`` if the block takes longer than LIMIT."""
    timer = threading.Timer(LIMIT, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def start_again() -> None:
    """Let the launcher start the job again: this rank hangs in MPI, and so do all others."""
    if path := handshake_file(STUCK):
        with contextlib.suppress(OSError):
            path.touch()
    os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def or_end() -> Iterator[None]:
    """End this process, which has not joined yet, if the root is lost."""
    try:
        yield
    except (MPI.Exception, ValueError):
        leave()


def leave() -> NoReturn:
    """End this process without any effect on the job."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def receive(pair: MPI.Intracomm, peer: int) -> Any:
    """Return a value sent by ``peer``, without keeping the core busy; raises MPI.Exception, ValueError."""
    checked = time.monotonic()
    while not pair.Iprobe(peer, TAG):
        time.sleep(POLL)
        if JOINS in os.environ and time.monotonic() > checked + CHECK:
            checked = time.monotonic()
            if has_ended() or is_alive(os.environ[JOINS]) is False:
                leave()
    status = MPI.Status()
    pair.Probe(peer, TAG, status)
    buffer = np.empty(status.Get_count(MPI.BYTE), np.uint8)
    pair.Recv(buffer, peer, TAG)
    return json.loads(buffer.tobytes())


def send(pair: MPI.Intracomm, peer: int, value: Any) -> None:
    """Send ``value`` (JSON); raises MPI.Exception."""
    pair.Send(np.frombuffer(json.dumps(value).encode(), np.uint8), peer, TAG)
