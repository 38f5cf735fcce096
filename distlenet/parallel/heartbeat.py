"""Small datagrams by which the ranks report their status to the root, independent of MPI, which may be stuck."""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import struct
import time
from pathlib import Path
from typing import Any

from distlenet.parallel.communicator import Communicator

LOOPBACK = "127.0.0.1"
LARGEST = 4096  # bytes of a datagram
NETWORK = "/proc/self/ns/net"
SIOCGIFADDR = 0x8915  # Linux: the IPv4 address of an interface
Heard = dict[int, tuple[float, dict[str, Any] | None]]  # by rank: seconds since its last status, and that status


class Heartbeats:
    """Sends each rank's status to the root, which answers with its own. All ranks must construct it together."""

    def __init__(self, comm: Communicator) -> None:
        self._rank, self._is_root = comm.rank, comm.is_root
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        alone = len(set(comm.allgather(network()))) == 1  # then the loopback interface is enough
        self._socket.bind((LOOPBACK if alone else "", 0))
        port = self._socket.getsockname()[1]
        # another host may be unable to reach some of the root's addresses: all are tried
        addresses = [LOOPBACK] if alone else own_addresses()
        self._token, self._root = comm.broadcast([secrets.token_hex(8), [[host, port] for host in addresses]])
        peers = range(1, comm.size) if comm.is_root else [0]
        self._heard: dict[int, tuple[float, Any]] = dict.fromkeys(peers, (time.monotonic(), None))

    def exchange(self, status: dict[str, Any]) -> Heard:
        """Send ``status`` (JSON); returns, by rank, the seconds since its last status and that status.

        The root hears from all ranks, the others from the root. Never waits; network errors are ignored.
        """
        message = json.dumps([self._token, self._rank, status]).encode()
        if not self._is_root:
            for address in self._root:
                self._send(message, tuple(address))
        with contextlib.suppress(OSError):
            while True:
                data, sender = self._socket.recvfrom(LARGEST)
                with contextlib.suppress(ValueError, TypeError):
                    token, rank, heard = json.loads(data)
                    if token == self._token:
                        self._heard[rank] = time.monotonic(), heard
                        if self._is_root:
                            self._send(message, sender)
        now = time.monotonic()
        return {rank: (now - moment, heard) for rank, (moment, heard) in self._heard.items()}

    def stillness(self, still: float, heard: Heard) -> float:
        """Return the seconds since any rank made progress: this one ``still`` seconds ago, the others as ``heard``.

        Every rank sends its own figure as "still". The root combines them and sends the result back as "job".
        """
        known = "still" if self._is_root else "job"
        return min([still, *(age + (status[known] if status else 0.0) for age, status in heard.values())])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def leads(self, silent: list[int]) -> bool:
        """Whether this rank decides for the job: the root does, and the others while the root is ``silent``."""
        return self._is_root or 0 in silent

    def _send(self, message: bytes, address: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendto(message, address)


def own_addresses() -> list[str]:
    """Return the IPv4 addresses of this host's interfaces, loopback included."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an address
                answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()))
                found.append(socket.inet_ntoa(answer[20:24]))
    return found or [LOOPBACK]


def network() -> str:
    """Return an identifier of the network of this host or container."""
    try:
        return f"{os.uname().nodename} {Path('/proc/sys/kernel/random/boot_id').read_text()} {os.readlink(NETWORK)}"
    except OSError:
        return secrets.token_hex(8)  # unknown: unique, so that it equals no other
