"""Reads a picture file of any format into an array, for training and for prediction.

``picture_decoder.py`` decides how formats, 16 bits, masks of 0 and 1, transparency, palettes and rotated photographs
are treated, in one place for all callers. It runs as a separate process that limits its own memory and processor time;
if it takes too long or crashes it is replaced.
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
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np

from distlenet.errors import DataError, UsageError, missing_extra

MOST_BYTES = 256 * 2**20  # of a file
PATIENCE = 60.0  # seconds of wall time: even on a busy machine the decoder's limit of processor time comes first
MOST_FACTS, MOST_PIXELS = 2**16, 2**24  # most bytes of an answer: facts, and pixels
HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}  # brands of ISO/IEC 23008-12
DECODER = Path(__file__).with_name("picture_decoder.py")


@dataclass(frozen=True)
class Pixels:
    """A decoded picture, upright."""

    values: np.ndarray  # uint8 (rows, columns) or (rows, columns, 3)
    longest: int  # pixels along the longer side in the file; ``values`` of a very large picture have fewer
    shortest: int
    several: bool  # whether the file has more frames; this is the first
    paper: int | None  # 0 or 255, filled in behind strokes on a transparent background; else None

    @property
    def grey(self) -> np.ndarray:
        """The luminance, uint8 (rows, columns)."""
        if self.values.ndim == 2:
            return self.values
        from PIL import Image

        return np.asarray(Image.fromarray(self.values).convert("L"))


def read_pixels(file: str | os.PathLike[str] | BinaryIO) -> Pixels:
    """Return the picture in ``file``, a path or an open file.

    Raises NotDecoded, whose text continues a sentence that starts with the picture's name; OSError if the file cannot
    be opened; UsageError without Pillow. Decoding may take up to 6 s of processor time and 1 GiB.
    """
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise UsageError(missing_extra("reading pictures", "Pillow", "pictures")) from error
    if isinstance(file, str | os.PathLike):
        with open(file, "rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    else:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise NotDecoded(f"has more than {MOST_BYTES // 2**20} MiB: save it as PNG or JPEG")
    if is_heic(content) and find_spec("pillow_heif") is None:
        raise NotDecoded(missing_extra("is HEIC; reading it", "pillow-heif", "heic") + ", or save it as JPEG")
    facts, values = DECODERS.decode(content)
    return Pixels(values, max(facts["size"]), min(facts["size"]), facts["several"], facts["paper"])


def is_heic(content: bytes) -> bool:
    """Whether the file ``content`` says that it is HEIC, the format of most phones: its first box lists the brands."""
    return content[4:8] == b"ftyp" and any(content[place : place + 4] in HEIC for place in range(8, 64, 4))


def read_image(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, int | None]:
    """Return the picture ``path`` in grey as uint8 (rows, columns) = ``size``, and its filled-in paper.

    The picture is scaled with its proportions and centred; the margins are filled with the median of its border. The
    paper is 0 or 255 for strokes on a transparent background, else None. Raises DataError naming the file, UsageError
    without Pillow.
    """
    try:
        pixels = read_pixels(path)
    except NotDecoded as reason:
        raise DataError(f"{path} {reason}; replace or remove it") from reason
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    from PIL import Image, ImageOps

    grey, (rows, columns) = pixels.grey, size
    if grey.shape != size:
        border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
        edge = int(np.median(border))
        padded = ImageOps.pad(Image.fromarray(grey), (columns, rows), Image.Resampling.LANCZOS, edge)
        grey = np.asarray(padded)
    return grey, pixels.paper


class NotDecoded(Exception):
    """The reason why a picture is not read; the text continues after the picture's name: "is empty"."""


class ImageProcess:
    """A decoder process, started for the first picture; it decodes one at a time. Threads may share it."""

    def __init__(self, program: Path = DECODER, patience: float = PATIENCE) -> None:
        self.program, self.patience = program, patience
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def decode(self, content: bytes) -> tuple[dict[str, Any], np.ndarray]:
        """Return facts and pixels of the picture in the file ``content``: see ``picture_decoder.decode``.

        Raises NotDecoded.
        """
        with self._lock:
            try:
                facts, pixels = self._exchanged(self._started(), content)
            except BaseException:  # the pipes may contain half a question or answer
                self._end()
                raise
        if "refused" in facts:
            raise NotDecoded(facts["refused"])
        return facts, np.frombuffer(pixels, np.uint8).reshape(facts["shape"])

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self._end()
            command = [sys.executable, "-P", str(self.program)]  # -P: no module of the working directory is imported
            environment, pipe = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}, subprocess.PIPE
            try:
                self._process = subprocess.Popen(
                    command, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
                )
            except OSError as error:
                raise NotDecoded(f"cannot be decoded: no process can be started ({error.strerror})") from error
        return self._process

    def _exchanged(self, process: "subprocess.Popen[bytes]", content: bytes) -> tuple[dict[str, Any], bytes]:
        questions, answers = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)  # both are pipes
        timer = threading.Timer(self.patience, process.kill)
        timer.daemon = True
        timer.start()
        try:
            questions.write(struct.pack("<Q", len(content)))
            questions.write(content)
            questions.flush()
            facts = json.loads(_received(answers, MOST_FACTS))
            return facts, _received(answers, MOST_PIXELS)
        except (EOFError, BrokenPipeError) as error:
            code = process.wait()
            if -code in (signal.SIGPROF, signal.SIGKILL):  # its own limit; our timer, or the system out of memory
                raise NotDecoded("takes too long to decode: save it as PNG or JPEG") from error
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise NotDecoded(f"is not a readable picture: it crashes the decoder ({how})") from error
        except ValueError as error:
            raise NotDecoded("is not a readable picture: the decoder's answer is invalid") from error
        finally:
            timer.cancel()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for stream in filter(None, (process.stdin, process.stdout)):
                with suppress(OSError):  # unwritten data cannot be flushed
                    stream.close()
            process.wait()


def _received(stream: IO[bytes], most: int) -> bytes:
    """Return the next part of an answer; raises EOFError if the process has ended, ValueError if it is too long."""
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


DECODERS = ImageProcess()  # one for the whole program is enough: pictures are decoded one by one
