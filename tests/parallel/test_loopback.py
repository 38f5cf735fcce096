"""Ranks of one host listen on the loopback interface alone."""

import socket

import pytest

from distlenet.parallel.loopback import LOOPBACK, bind_to_loopback, listening_sockets


def device(found):
    """Return the interface to which a socket is bound, b"" without one."""
    return found.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_only_listening_sockets_are_bound_and_still_accept(family):
    host = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}[family]
    try:
        door = socket.create_server(("", 0), family=family)
    except OSError:
        pytest.skip("this host has no IPv6")
    with door, socket.socket(family, socket.SOCK_DGRAM) as other, socket.socket() as idle:
        door.settimeout(10)
        names = [found.getsockname() for found in listening_sockets()]
        assert door.getsockname() in names
        bind_to_loopback()
        assert device(door) == LOOPBACK and not device(other) and not device(idle)
        assert door.gettimeout() == 10  # the blocking mode is the same
        with socket.create_connection((host, door.getsockname()[1]), 10) as guest:
            accepted, _ = door.accept()
            with accepted:
                guest.sendall(b"hello")
                assert accepted.recv(5) == b"hello"
