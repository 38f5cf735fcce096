"""Keeps the ranks of one host off the network: their sockets accept connections of this host alone.

Open MPI's TCP transport, which new ranks need, listens on every interface, whatever its parameters: they choose the
addresses that it connects to. So each rank binds the sockets that MPI has opened to the loopback interface afterwards.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

LOOPBACK = b"lo\0"


def bind_to_loopback() -> None:
    """Let the listening TCP sockets of this process accept connections over the loopback interface alone.

    Linux before 5.7 permits that to privileged users only; elsewhere the sockets stay as they are.
    """
    for listening in listening_sockets():
        with contextlib.suppress(OSError):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, LOOPBACK)


def listening_sockets() -> Iterator[socket.socket]:
    """Yield the listening TCP sockets of this process, whoever has opened them, each open until the next one."""
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it is no longer open
            if not path.is_socket():
                continue
            with socket.socket(fileno=os.dup(int(path.name))) as found:  # a second descriptor of the same socket
                internet = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
                if internet and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    yield found
