"""One request over HTTPS: urllib with its many kinds of failure turned into one with a short reason."""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any
from urllib.parse import urlsplit

PIECE = 64 * 1024  # bytes read at once


class FailureError(Exception):
    """Why an attempt failed; ``again`` tells whether the same mirror deserves another."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.again = again


@contextmanager
def connection(url: str, offset: int, timeout: float) -> Iterator[http.client.HTTPResponse]:
    """Ask for ``url`` from byte ``offset`` on; raises FailureError."""
    _check_scheme(url)
    headers = {"User-Agent": "distlenet", **({"Range": f"bytes={offset}-"} if offset else {})}
    try:
        response = _OPENER.open(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not offset:
            raise FailureError(f"answered {error.code} {error.reason}", again=error.code >= 500) from error
        response = None  # 416: it has no such range, so what we have is not a beginning of its file
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FailureError(_reason(error, timeout)) from error
    if response is None:
        with connection(url, 0, timeout) as whole:
            yield whole
        return
    with response:
        yield response


def extent(response: http.client.HTTPResponse) -> tuple[int, int]:
    """Return the offset of the body's first byte in the file, and the file's length, 0 if unknown."""
    if response.status == 206:
        said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if not said:
            raise FailureError("sent a part of the file without saying which", again=False)
        return int(said[1]), 0 if said[2] == "*" else int(said[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else 0


def next_piece(response: http.client.HTTPResponse, timeout: float) -> bytes:
    """Return the next bytes of the body, none at its end or where it breaks off; raises FailureError."""
    try:
        return response.read1(PIECE)
    except http.client.IncompleteRead:
        return b""  # told by the length
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FailureError(_reason(error, timeout)) from error


def _reason(error: Exception, timeout: float) -> str:
    inner = getattr(error, "reason", error)  # urllib wraps what the socket said
    if isinstance(inner, TimeoutError):
        return f"was silent for {timeout:g} s"
    if isinstance(inner, OSError) and inner.strerror:
        return f"failed: {inner.strerror}"
    return f"failed: {(str(inner).splitlines() or [type(inner).__name__])[0]}"


def _check_scheme(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname == "127.0.0.1"):
        raise FailureError(f"leads to {parts.scheme}://{parts.netloc}, expected https", again=False)


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            _check_scheme(newurl)
        except FailureError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_OnlyHttps)
