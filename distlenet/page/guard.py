"""Who may ask: only the page itself, opened under an address that the server was meant to have.

Any web page that the user visits can send requests to this machine. Three checks keep them out: the Host header,
against names that an attacker lets point here (DNS rebinding); Origin and Sec-Fetch-Site, against pages of other
sites; and a Content-Security-Policy, so that nothing foreign runs on the page or frames it.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from flask import Request, Response
from werkzeug.exceptions import Forbidden

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Guard:
    """Checks requests to a server bound to ``address``, an IP address that the user gave as ``host``.

    The port is not checked: it is another one behind an SSH tunnel, and a rebound name is wrong at any port.
    """

    def __init__(self, host: str, address: str) -> None:
        ip = ipaddress.ip_address(address)
        self.is_loopback = ip.is_loopback
        self._any_address = ip.is_unspecified  # an address cannot be rebound, only a name can
        self._names = {host.lower(), address}
        if ip.is_loopback or ip.is_unspecified:
            self._names |= LOOPBACK
        if ip.is_unspecified:
            own = socket.gethostname().lower()
            self._names |= {own, f"{own}.local"}

    def check(self, request: Request) -> None:
        """Raise Forbidden unless ``request`` came under our name and, if it is a POST, from our page."""
        host = request.headers.get("Host", "")
        if not self._is_ours(host):
            raise Forbidden("The Host header names another server: open the page at the address that was printed.")
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return
        origin = request.headers.get("Origin")
        if origin is not None and _split(origin).netloc.lower() != host.lower():
            raise Forbidden("The request comes from a page of another site.")
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise Forbidden("The request comes from a page of another site.")

    def _is_ours(self, host: str) -> bool:
        name = _split(f"//{host}").hostname or ""
        return name in self._names or (self._any_address and _is_address(name))


def protect(response: Response) -> Response:
    """Return ``response`` with the headers that keep foreign content out."""
    response.headers.update(HEADERS)
    return response


def _split(address: str) -> object:
    try:
        return urlsplit(address)
    except ValueError:  # an unclosed [
        return urlsplit("")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
