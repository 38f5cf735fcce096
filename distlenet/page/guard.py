"""Who may ask: only the page itself, opened under an address that the server was meant to have.

Any web page that the user visits can send requests to this machine. Three checks keep them out: the Host header,
against names that an attacker lets point here (DNS rebinding); Origin and Sec-Fetch-Site, against pages of other
sites; and a Content-Security-Policy, so that nothing foreign runs on the page or frames it. A Permissions-Policy keeps
the camera for the page, which asks the user first.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from flask import Request, Response
from werkzeug.exceptions import Forbidden

from distlenet.errors import UsageError

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
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
    ``allowed`` are further names, those of a proxy or of DNS: "box.example.org", or "*.example.org" for all below. A
    proxy may give its own name as the Host or ours; its X-Forwarded-Host is never trusted.
    """

    def __init__(self, host: str, address: str, allowed: Iterable[str] = ()) -> None:
        ip = ipaddress.ip_address(address)
        self.is_loopback = ip.is_loopback
        self._any_address = ip.is_unspecified  # an address cannot be rebound, only a name can
        self._names = {host.lower(), address}
        if ip.is_loopback or ip.is_unspecified:
            self._names |= LOOPBACK
        if ip.is_unspecified:
            own = socket.gethostname().lower()
            self._names |= {own, f"{own}.local"}
        self._allowed = [checked_name(name) for name in allowed]

    def check(self, request: Request) -> None:
        """Raise Forbidden unless ``request`` uses a name of this server and, if it is a POST, comes from its page."""
        host = request.headers.get("Host", "")
        name = _split(f"//{host}").hostname or ""
        if not (name in self._names or (self._any_address and _is_address(name)) or self._is_allowed(name)):
            raise Forbidden(_how_to_allow(name, "The Host header names another server"))
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return
        origin = request.headers.get("Origin")
        if origin is not None and _split(origin).netloc.lower() != host.lower():
            source = _split(origin).hostname or ""
            if not self._is_allowed(source):
                raise Forbidden(_how_to_allow(source, "The request comes from a page of another site"))
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise Forbidden("The request comes from a page of another site.")

    def _is_allowed(self, name: str) -> bool:
        return any(name.endswith(own[1:]) if own.startswith("*") else name == own for own in self._allowed)


def checked_name(name: str) -> str:
    """Return ``name`` of --allow-host in lower case; raises UsageError unless it is a host's, or "*." and a domain."""
    label = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
    if re.fullmatch(rf"(\*\.{label}\.)?({label}\.)*{label}", name.lower()) or _is_address(name.strip("[]")):
        return name.lower().strip("[]")
    raise UsageError(
        f"draw --allow-host is {name!r}, expected a host name without http:// and port, such as box.example.org or "
        "*.example.org for all names below it"
    )


def _how_to_allow(name: str, what: str) -> str:
    """Return the sentence of a refusal, with the reason ``what`` and the option that allows ``name``."""
    if not name.isascii() or not re.fullmatch(r"[\w.-]{1,253}", name):
        return f"{what}: open the page at the address that was printed."
    return (
        f"{what}, {name}: open the page at the address that was printed, or, if {name} is yours, start distlenet draw "
        f"with --allow-host {name}."
    )


def protect(response: Response) -> Response:
    """Return ``response`` with the headers that keep foreign content out."""
    response.headers.update(HEADERS)
    return response


def _split(address: str) -> SplitResult:
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
