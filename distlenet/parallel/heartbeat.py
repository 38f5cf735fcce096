"""Small datagrams by which the ranks tell the root where they are, beside MPI, which may be stuck."""

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
Heard = dict[int, tuple[float, dict[str, Any] | None]]  # by rank: seconds ago, and its status then


class Heartbeats:
    """Made by all ranks at the same time. Every rank tells the root, and the root answers: each hears the other."""

    def __init__(self, comm: Communicator) -> None:
        self._rank, self._is_root = comm.rank, comm.is_root
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        alone = len(set(comm.allgather(network()))) == 1  # then nobody else needs to reach the socket
        self._socket.bind((LOOPBACK if alone else "", 0))
        port = self._socket.getsockname()[1]
        # which of the root's addresses another host can reach is not known: all are tried
        addresses = [LOOPBACK] if alone else own_addresses()
        self._token, self._root = comm.broadcast([secrets.token_hex(8), [[host, port] for host in addresses]])
        peers = range(1, comm.size) if comm.is_root else [0]
        self._heard: dict[int, tuple[float, Any]] = dict.fromkeys(peers, (time.monotonic(), None))

    def exchange(self, status: dict[str, Any]) -> Heard:
        """Send ``status`` (JSON); returns by rank how many seconds ago it was heard of last, and its status then.

        The root hears of all, the others of the root. Never waits, never raises for want of a network.
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
        """Return for how many seconds no rank has made progress; this one for ``still``, the others as ``heard``.

        The root hears of all and what they say of themselves, "still"; it passes on what that means for the "job".
        """
        known = "still" if self._is_root else "job"
        return min([still, *(age + (status[known] if status else 0.0) for age, status in heard.values())])

    def close(self) -> None:
        """Hear and say no more."""
        self._socket.close()

    def leads(self, silent: list[int]) -> bool:
        """Whether this rank speaks for the job: the root, and any other while the root is ``silent``."""
        return self._is_root or 0 in silent

    def _send(self, message: bytes, address: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendto(message, address)


def own_addresses() -> list[str]:
    """Return the IPv4 addresses of this host's interfaces, the loopback's among them."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an address
                answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()))
                found.append(socket.inet_ntoa(answer[20:24]))
    return found or [LOOPBACK]


def network() -> str:
    """Return what tells this host's network, or this container's, from those of others."""
    try:
        return f"{os.uname().nodename} {Path('/proc/sys/kernel/random/boot_id').read_text()} {os.readlink(NETWORK)}"
    except OSError:
        return secrets.token_hex(8)  # like no other
