"""The door of a job: a Unix socket in its private folder, by which `distlenet resize` changes the number of its ranks.

Only this user can reach the folder. The socket's mode is 0600, and a request must show the job's secret.
"""

import contextlib
import hmac
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from distlenet.errors import LaunchError
from distlenet.handshake import RANKS, SECRET
from distlenet.launching.mpirun import which_mpi

NAME = "door"
LARGEST = 4096  # bytes of a request or an answer
PATIENCE = 5.0  # seconds for either


class Door:
    """Answers requests in a thread until it is closed; ``fixed``: why this job cannot change its number of ranks."""

    def __init__(self, folder: Path, ranks: int, fixed: str | None) -> None:
        self._folder, self._fixed, self._secret, self._requests = folder, fixed, secrets.token_hex(32), 0
        _write(folder / SECRET, self._secret)
        if fixed is None:
            _write(folder / RANKS, f"{ranks} 0")
        self._socket = socket.socket(socket.AF_UNIX)
        with _short(folder) as path:
            before = os.umask(0o177)
            try:
                self._socket.bind(path)
            finally:
                os.umask(before)
        self._socket.listen()
        threading.Thread(target=self._serve, name="door", daemon=True).start()

    def close(self) -> None:
        """Answer no more requests."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                guest, _ = self._socket.accept()
            except OSError:  # closed
                return
            with guest, contextlib.suppress(OSError):
                guest.settimeout(PATIENCE)
                guest.sendall(json.dumps(self._answer(guest.recv(LARGEST))).encode())

    def _answer(self, request: bytes) -> str | None:
        """Do what ``request`` asks for; return why not, or None."""
        try:
            shown, ranks = json.loads(request)
        except (ValueError, TypeError):
            return "the request is damaged"
        if not hmac.compare_digest(str(shown).encode(), self._secret.encode()):
            return "the request does not show the job's secret"
        if type(ranks) is not int or ranks < 1:
            return f"expected a number of ranks of at least 1, got {ranks!r}"
        if self._fixed is None:
            self._requests += 1  # so that the same number again is another attempt
            _write(self._folder / RANKS, f"{ranks} {self._requests}")
        return self._fixed


def why_fixed(command: str, ranks: int, starter: Sequence[str], tolerant: bool, returns: bool) -> str | None:
    """Return why a job of ``command`` cannot change its number of ranks while it runs, or None: see Job."""
    if command != "train":  # a series of runs divides its ranks into teams
        return f"only the ranks of train can change, those of {command} stay as they are"
    if starter:
        return f"{starter[0]} starts no further ranks"
    if not which_mpi().survives_losses:
        return f"{which_mpi().name} cannot change the number of ranks of a running job; Open MPI 5 can"
    if ranks == 1:
        return "it was started with one rank: stop it, and resume it on two or more"
    if not (tolerant and returns):
        how = "--no-return" if tolerant else "--no-fault-tolerance"
        return f"it was started with {how}: stop it, and resume it without"
    return None


def ask(folder: Path, ranks: int) -> None:
    """Ask the launcher whose job has this ``folder`` for ``ranks`` ranks; raises LaunchError if it refuses."""
    try:
        secret = (folder / SECRET).read_text(encoding="utf-8")
        with socket.socket(socket.AF_UNIX) as door, _short(folder) as path:
            door.settimeout(PATIENCE)
            door.connect(path)
            door.sendall(json.dumps([secret, ranks]).encode())
            refusal = json.loads(door.recv(LARGEST) or b'"it has just ended"')
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LaunchError(
            f"cannot reach the launcher of this run ({reason}): it is about to end or to start its job again, or it "
            "hangs; try again in a few seconds"
        ) from error
    if refusal:
        raise LaunchError(f"the launcher of this run refuses: {refusal}")


def _write(path: Path, text: str) -> None:
    """Write a file that only this user can read, all at once."""
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(new, path)


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Give the path of the socket in ``folder``, short enough for the system, which allows 107 bytes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)
