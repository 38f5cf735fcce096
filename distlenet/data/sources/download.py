"""Fetch a file over HTTPS that may be cut off at any byte, by a server that may do anything.

What has arrived stays in ``<name>.part`` and the next attempt asks for the rest. Whatever servers say of
lengths and ranges, only a file with the right SHA-256 gets its name.
"""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from distlenet.data.https import FailureError, connection, extent, next_piece
from distlenet.data.partfile import open_part
from distlenet.data.progress import Progress, silent
from distlenet.errors import DownloadError


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and how often to try."""

    silence: float = 20.0  # without a connection or a byte
    transfer: float = 1800.0  # for one attempt on the whole
    pause: float = 1.0  # before the next attempt
    attempts: int = 3  # on each mirror


PATIENT = Patience()


def download(
    urls: Sequence[str],
    path: Path,
    *,
    sha256: str,
    largest: int,
    patience: Patience = PATIENT,
    progress: Progress = silent,
) -> str:
    """Fetch ``path`` from the first of ``urls`` that delivers the right bytes; return that URL.

    ``sha256`` is hexadecimal, ``largest`` the most bytes to accept. Raises DownloadError that says what
    each mirror did, or why the file cannot be stored.
    """
    failures = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_part(path) as part:
            transfer = _Transfer(part, sha256, largest, patience, lambda *n: progress(f"downloading {path.name}", *n))
            for url in urls:
                failure = transfer.attempt(url)
                if failure is None:
                    os.fsync(part.fileno())
                    os.replace(part.name, path)
                    return url
                failures.append(f"{urlsplit(url).netloc} {failure}")
    except OSError as error:  # those of the network were taken care of: this is the disk
        raise DownloadError(f"cannot store {path}: {error.strerror or error}") from error
    raise DownloadError(f"cannot download {path.name} ({'; '.join(failures)})")


class _Transfer:
    """The attempts to complete one open ``.part`` file."""

    def __init__(
        self,
        part: BinaryIO,
        sha256: str,
        largest: int,
        patience: Patience,
        progress: Callable[[int, int], None],
    ) -> None:
        self.part = part
        self.sha256 = sha256
        self.largest = largest
        self.patience = patience
        self.progress = progress  # (bytes so far, bytes in all or 0)

    def attempt(self, url: str) -> FailureError | None:
        """Fetch from ``url``, several times if it breaks off; return the last failure, None on success."""
        failure = None
        for number in range(self.patience.attempts):
            if number:
                time.sleep(self.patience.pause)
            try:
                self._fetch(url)
                return None
            except FailureError as error:
                failure = error
                if not error.again:
                    break
        return failure

    def _fetch(self, url: str) -> None:
        have = self.part.seek(0, os.SEEK_END)
        if have and self._is_complete():
            return  # an earlier run was stopped just before the renaming
        if have >= self.largest:  # as long as can be, but wrong
            have = self.part.truncate(0)
        end = time.monotonic() + self.patience.transfer
        with connection(url, have, self.patience.silence) as response:
            start, total = extent(response)
            if start != have:  # the server ignored the range, or has another idea of it
                have = self.part.truncate(0)
                if start:
                    raise FailureError(f"sent the bytes from {start:,} on, which nobody asked for")
            if total > self.largest:
                raise FailureError(f"offers {total:,} bytes, expected at most {self.largest:,}", again=False)
            self.part.seek(have)
            while piece := next_piece(response, self.patience.silence):
                have += len(piece)
                if have > self.largest:
                    self.part.truncate(0)
                    raise FailureError(f"sent more than {self.largest:,} bytes", again=False)
                self._store(piece)
                self.progress(have, total)
                if time.monotonic() > end:
                    raise FailureError(f"took longer than {self.patience.transfer:g} s")
        if have < total:
            raise FailureError(f"broke off after {have:,} of {total:,} bytes")
        if not self._is_complete():
            self.part.truncate(0)  # the beginning may be another server's: the next attempt starts anew
            raise FailureError("sent other bytes than expected (wrong SHA-256)")

    def _store(self, piece: bytes) -> None:
        while piece:  # unbuffered: a disk that fills up may take half of it
            piece = piece[self.part.write(piece) :]

    def _is_complete(self) -> bool:
        self.part.seek(0)
        return hashlib.file_digest(self.part, "sha256").hexdigest() == self.sha256
