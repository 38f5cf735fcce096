"""Decodes pictures, in a separate process with limited memory and time.

A few bytes can keep a decoder busy for hours, exhaust the memory or crash it, and no list of such tricks is complete.
Pictures are therefore decoded where none of this does harm. ``picture.py`` starts this file, sends it the bytes of one
picture after another, and gets back upright 8-bit grey or colour, with paper filled in where it was transparent.
Imports nothing from the package.
"""

import json
import os
import signal
import struct
import sys
import warnings
from contextlib import suppress
from io import BytesIO
from typing import Any

FORMATS = (  # all formats that are ever opened: none of them runs a program or follows a path
    *("PNG", "JPEG", "MPO", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000"),
    *("PPM", "TGA", "PCX", "ICO", "ICNS", "QOI", "SGI", "PSD", "HEIF"),
)
FILMS = ("GIF", "PNG", "TIFF", "WEBP", "AVIF")  # formats whose second frame is another picture
MOST_PIXELS = 64_000_000  # more than the photographs of a phone have
FINEST = 2000  # most pixels along the longer side of the answer
SECONDS = 6.0  # of processor time for one picture
MEMORY = 960 * 2**20  # bytes in all
RANGES = (1, 16, 255, 4095, 65535)  # largest values of masks, 16 levels, bytes, and 12- and 16-bit sensors


class Refused(Exception):
    """A picture is refused; the text continues after the picture's name: "is empty"."""


def main() -> None:
    """Answer questions until the input ends: each message is its length in 8 bytes, then the bytes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the parent
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # output of a library must not mix with the answers
    _confine()
    while head := questions.read(8):
        content = questions.read(*struct.unpack("<Q", head))
        pixels = b""
        _allow(SECONDS)
        try:
            facts, pixels = decode(content)
        except Refused as reason:
            facts = {"refused": str(reason)}
        except MemoryError:
            facts = {"refused": "takes more than 1 GiB of memory to decode: save it as PNG or JPEG"}
        except Exception as error:  # a damaged file can make a decoder raise anything
            text = " ".join(f"{error}".split()) or type(error).__name__
            facts = {"refused": f"is not a readable picture ({text:.200})"}
        _allow(0)
        del content
        for part in (json.dumps(facts).encode(), pixels):
            answers.write(struct.pack("<Q", len(part)))
            answers.write(part)
        answers.flush()


def _confine() -> None:
    """Limit the memory, and forbid writing files and core dumps. No effect on systems without such limits."""
    try:
        import resource
    except ImportError:
        return
    for limit, most in (("RLIMIT_DATA", MEMORY), ("RLIMIT_AS", 2 * MEMORY), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0)):
        number = getattr(resource, limit)
        hard = resource.getrlimit(number)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (most, most))


def _allow(seconds: float) -> None:
    """End this process after ``seconds`` of processor time; 0 removes the limit."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, even inside a decoder
        signal.setitimer(signal.ITIMER_PROF, seconds)


def decode(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return facts and pixels of the picture in the file ``content``.

    The facts are ``size``, the (columns, rows) in the file; ``shape`` of the pixels, (rows, columns) or (rows,
    columns, 3), at most FINEST along a side; ``several``, whether there are more frames; and ``paper``, 0 or 255 if
    strokes were on a transparent background, else None. Raises Refused, or whatever a decoder raises.
    """
    from PIL import Image

    warnings.simplefilter("ignore")  # about odd metadata, for example
    Image.init()
    if content[4:8] == b"ftyp":
        _add_heif()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        image = Image.open(BytesIO(content), formats=formats)
    except Image.UnidentifiedImageError as error:
        raise Refused(f"is {_what(content[:256])}") from error
    except Image.DecompressionBombError as error:
        raise Refused(f"has too many pixels, expected at most {MOST_PIXELS:,}") from error
    size = image.size
    if size[0] * size[1] > MOST_PIXELS:
        raise Refused(f"has {size[0]:,} x {size[1]:,} pixels, expected at most {MOST_PIXELS:,} in all")
    image.draft("RGB", (FINEST, FINEST))  # JPEG: decode no finer than needed
    kind = image.format
    image = _reduced(image)
    image.load()  # raises errors of damaged pixels here, because _upright ignores all errors
    image = _upright(image)
    pixels, paper = _opaque(image)
    facts = {"size": size, "shape": pixels.shape, "several": kind in FILMS and _has_more(content, formats)}
    return {**facts, "paper": paper}, pixels.tobytes()


def _add_heif() -> None:
    """Let Pillow open HEIC, if pillow-heif is installed; of several images, the primary one.

    Thumbnails and the like are left unread: a file could hide another picture there.
    """
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def _reduced(image: Any) -> Any:
    """Return ``image`` at most FINEST pixels long, in mode L, RGB, LA, RGBA, or in a mode with more than 8 bits."""
    from PIL import Image

    if image.mode[0] in "IF":
        return image  # _bytes reduces these
    if image.mode == "LAB":  # Pillow does not convert it; its first channel is the lightness
        image = image.getchannel(0)
    if "transparency" in image.info or image.mode in ("PA", "RGBa"):
        image = image.convert("RGBA")
    elif image.mode == "La":
        image = image.convert("LA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "LA", "RGBA", "CMYK"):
        image = image.convert("RGB")
    image.thumbnail((FINEST, FINEST), Image.Resampling.BOX)
    return image.convert("RGB") if image.mode == "CMYK" else image


def _upright(image: Any) -> Any:
    """Return ``image`` rotated according to its EXIF data; unchanged if they are damaged."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _opaque(image: Any) -> tuple[Any, int | None]:
    """Return ``image`` as uint8 (rows, columns) or (rows, columns, 3), and the paper that was filled in.

    Transparent pixels become white, or black if the ink is light: otherwise white strokes would vanish. The paper is
    None if nothing was transparent, or if most of the picture was opaque and so shows its own paper.
    """
    import numpy as np

    values = np.asarray(image)
    if image.mode[0] in "IF":
        return _bytes(values), None
    if image.mode in ("L", "RGB"):
        return _bright(values, values.max()), None
    values, alpha = values[..., :-1], _bright(values[..., -1], values[..., -1].max())
    values = np.where((alpha > 0)[..., None], values, 0)
    values = _bright(values, values.max())
    if image.mode == "LA":
        values = values[..., 0]
    if alpha.min() == 255:
        return values, None
    cover = alpha.astype(np.float32) / 255
    share = float(cover.mean())
    light = float((values.reshape(*cover.shape, -1).mean(axis=-1) * cover).sum()) / max(cover.sum(), 1e-9)
    paper = 255 if light < 128 else 0
    cover = cover.reshape(*cover.shape, *[1] * (values.ndim - 2))
    filled = np.rint(values * cover + paper * (1 - cover)).astype(np.uint8)
    return filled, paper if share < 0.5 else None


def _bright(values: Any, largest: int) -> Any:
    """Return uint8 ``values``, brightened if their ``largest`` is tiny, as in masks of 0 and 1 or grey of 16 levels.

    Such pictures look black: a network could learn from them, but no digit could be found in them.
    """
    return values * values.dtype.type(255 if largest == 1 else 15) if 1 <= largest <= 16 else values


def _bytes(values: Any) -> Any:
    """Return ``values`` (rows, columns) of more than 8 bits as uint8, averaged over blocks in large pictures.

    The range is the smallest of RANGES that holds the largest value. It is the values' own range if none does, or if
    the values use little of it.
    """
    import numpy as np

    step = -(-max(values.shape) // FINEST) if max(values.shape) > FINEST else 1
    rows, columns = (size // step for size in values.shape)
    squares = values[: rows * step, : columns * step].reshape(rows, step, columns, step)
    values = squares.mean(axis=(1, 3), dtype=np.float64)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    top = next((top for top in RANGES if low >= 0 and high <= top), None)
    if top is not None and (top == 255 or high - low >= top / 16 or high == low):
        low, high = 0.0, float(top)
    return np.rint(255 * ((values - low) / max(high - low, 1e-30))).astype(np.uint8)


def _has_more(content: bytes, formats: list[str]) -> bool:
    """Whether there is a second frame. Frames are not counted, since there may be millions."""
    from PIL import Image

    try:
        with Image.open(BytesIO(content), formats=formats) as image:
            image.seek(1)
            return True
    except Exception:  # EOFError; or the second frame is damaged
        return False


def _what(head: bytes) -> str:
    """Return the kind of a refused file, from its first bytes, and advice."""
    if not head:
        return "empty, expected a picture"
    if head[4:8] == b"ftyp":
        return "a damaged HEIC or a film, expected a picture: save it as JPEG or PNG"
    if head[:4] in (b"%!PS", b"\xc5\xd0\xd3\xc6"):
        return "EPS or PostScript, which is a program and therefore not read: save it as PNG or JPEG"
    if b"<svg" in head or b"%PDF" in head:
        return "SVG or PDF, which is not read here: save it as PNG"
    if head[:9].lower() in (b"<!doctype", b"<html>") or b"<html" in head.lower():
        return "a web page, expected a picture: save the picture itself"
    return "not a picture of a known format: save it as PNG or JPEG"


if __name__ == "__main__":
    main()
