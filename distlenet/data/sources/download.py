"""Downloads a file of a few megabytes over HTTPS from untrusted servers.

The file is held in memory until it is complete, and written only if its SHA-256 is right.
"""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from distlenet import atomic
from distlenet.data.file.writer import Progress, silent
from distlenet.errors import DownloadError

PIECE = 64 * 1024  # bytes read at once


@dataclass(frozen=True)
class Patience:
    """Timeouts, in seconds, and the number of attempts."""

    silence: float = 20.0  # without a connection or a byte
    transfer: float = 1800.0  # for one whole attempt
    pause: float = 1.0  # before the next attempt
    attempts: int = 3  # per mirror


PATIENT = Patience()


class FailureError(Exception):
    """The reason why an attempt failed; ``again`` says whether to try the same mirror again."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.again = again


def download(
    urls: Sequence[str],
    path: Path,
    *,
    sha256: str,
    largest: int,
    patience: Patience = PATIENT,
    progress: Progress = silent,
) -> str:
    """Download ``path`` from the first of ``urls`` that delivers the right bytes; return that URL.

    ``sha256`` is hexadecimal, ``largest`` is the most bytes to accept. Raises DownloadError with the reason for each
    mirror, or the reason why the file cannot be written.
    """
    failures = []
    for url in urls:
        for attempt in range(1, patience.attempts + 1):
            try:
                content = _fetch(url, largest, patience, partial(progress, f"downloading {path.name}"))
                if hashlib.sha256(content).hexdigest() != sha256:
                    raise FailureError("sent other bytes than expected (wrong SHA-256)")
            except FailureError as failure:
                if attempt == patience.attempts or not failure.again:
                    failures.append(f"{urlsplit(url).netloc} {failure}")
                    break
                time.sleep(patience.pause)
            else:
                atomic.write(path, content, DownloadError)
                return url
    raise DownloadError(f"cannot download {path.name} ({'; '.join(failures)})")


def _fetch(url: str, largest: int, patience: Patience, progress: Callable[[int, int], None]) -> bytes:
    """Return the file at ``url``; calls ``progress(bytes so far, total bytes or 0)``. Raises FailureError."""
    _check_scheme(url)
    content, total, end = bytearray(), 0, time.monotonic() + patience.transfer
    request = urllib.request.Request(url, headers={"User-Agent": "distlenet"})
    try:
        with _OPENER.open(request, timeout=patience.silence) as response:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else 0
            if total > largest:
                raise FailureError(f"offers {total:,} bytes, expected at most {largest:,}", again=False)
            while piece := response.read1(PIECE):
                content += piece
                if len(content) > largest:
                    raise FailureError(f"sent more than {largest:,} bytes", again=False)
                progress(len(content), total)
                if time.monotonic() > end:
                    raise FailureError(f"took longer than {patience.transfer:g} s")
    except urllib.error.HTTPError as error:
        error.close()
        raise FailureError(f"answered {error.code} {error.reason}", again=error.code >= 500) from error
    except http.client.IncompleteRead:
        pass  # the length below shows it
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FailureError(_reason(error, patience.silence)) from error
    if len(content) < total:
        raise FailureError(f"broke off after {len(content):,} of {total:,} bytes")
    return bytes(content)


def _reason(error: Exception, silence: float) -> str:
    inner = getattr(error, "reason", error)  # urllib wraps the socket's error
    if isinstance(inner, TimeoutError):
        return f"was silent for {silence:g} s"
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
