"""Pictures decoded by another process, which is ended and replaced where it takes too long or crashes.

``picture_decoder.py`` is that process; it bounds its own memory and processor time. It is started at the first picture
and serves all that follow, in turn. Threads may share it.
"""

import atexit
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

PATIENCE = 60.0  # seconds on the clock: its own limit of processor time comes first, even on a busy machine
MOST_FACTS, MOST_BYTES = 2**16, 2**24  # of an answer: facts, and pixels
DECODER = Path(__file__).with_name("picture_decoder.py")


class NotDecoded(Exception):
    """Why a picture is not read; the text goes on after its name: "is empty"."""


class ImageProcess:
    """Decodes one picture at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        atexit.register(self.close)

    def decode(self, content: bytes) -> tuple[dict[str, Any], np.ndarray]:
        """Return facts and pixels of the picture whose file is ``content``: see ``picture_decoder.decode``.

        Raises NotDecoded.
        """
        with self._lock:
            try:
                facts, pixels = self._exchanged(content)
            except BaseException:  # half a question or answer is in the pipes
                self._end()
                raise
        if "refused" in facts:
            raise NotDecoded(facts["refused"])
        return facts, np.frombuffer(pixels, np.uint8).reshape(facts["shape"])

    def start(self) -> None:
        """Start the process, unless it runs: what is done before the first picture then costs no time."""
        if self._process is not None and self._process.poll() is None:
            return
        self._end()
        command = [sys.executable, "-P", str(DECODER)]  # -P: no module of the working directory is imported
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        try:
            self._process = subprocess.Popen(command, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, **pipes)
        except OSError as error:
            raise NotDecoded(f"cannot be decoded: no process can be started ({error.strerror})") from error

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _exchanged(self, content: bytes) -> tuple[dict[str, Any], bytes]:
        self.start()
        process = self._process
        timer = threading.Timer(PATIENCE, process.kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(struct.pack("<Q", len(content)))
            process.stdin.write(content)
            process.stdin.flush()
            facts = json.loads(_received(process.stdout, MOST_FACTS))
            return facts, _received(process.stdout, MOST_BYTES)
        except (EOFError, BrokenPipeError) as error:
            code = process.wait()
            if -code in (signal.SIGPROF, signal.SIGKILL):  # its own limit; ours, or the system's lack of memory
                raise NotDecoded("takes too long to decode: save it as PNG or JPEG") from error
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise NotDecoded(f"is not a readable picture: it makes the decoder crash ({how})") from error
        except ValueError as error:
            raise NotDecoded("is not a readable picture: it makes the decoder answer nonsense") from error
        finally:
            timer.cancel()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):  # of what was still to be written
                    stream.close()
            process.wait()


def _received(stream: BinaryIO, most: int) -> bytes:
    """Return the next part of an answer; raises EOFError where the process has ended, ValueError if it is too long."""
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError
    [length] = struct.unpack("<Q", head)
    if length > most:
        raise ValueError
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content


DECODERS = ImageProcess()  # of this program: one is enough, pictures come one by one
