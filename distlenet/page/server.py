"""Listening at an address, and serving an application there until Ctrl-C or SIGTERM."""

import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from flask import Flask
from waitress.server import create_server

from distlenet.errors import PageError

THREADS = 4
CONNECTIONS = 100
QUIET = 60  # seconds after which a silent connection is closed
REQUEST = 64 * 2**20  # bytes; the application's own limits are lower and say so in JSON


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on ``host`` at ``port``, 0 for any free one.

    Raises PageError where the host is not of this machine, or the port is taken or not allowed.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=CONNECTIONS)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PageError(
            f"cannot listen on {host}, port {port} ({reason}): choose others with --host and --port; --port 0 finds a "
            "free port"
        ) from error


def url_of(listener: socket.socket) -> str:
    """Return the address to open in a browser on this machine."""
    address, port = listener.getsockname()[:2]
    if ip_address(address).is_unspecified:
        address = "localhost"
    return f"http://{f'[{address}]' if ':' in address else address}:{port}/"


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Leave the block cleanly at SIGINT or SIGTERM; only for the main thread."""
    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def serve(app: Flask, listener: socket.socket) -> None:
    """Serve ``app`` until KeyboardInterrupt."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # do not report waiting requests
    server = create_server(
        app,
        sockets=[listener],
        threads=THREADS,
        connection_limit=CONNECTIONS,
        channel_timeout=QUIET,
        max_request_body_size=REQUEST,
        ident=None,
    )
    server.run()  # returns at KeyboardInterrupt, after the current answers are sent
    server.close()
