"""Pictures of every mode are read; files that are not pictures, or blank ones, give one sentence."""

import contextlib
import io

import numpy as np
import pytest

pytest.importorskip("PIL")
from PIL import Image
from scenes import saved

from distlenet.errors import PictureError, UsageError
from distlenet.pictures import digits_in, read_picture

BAR = np.full((120, 100), 230, np.uint8)
BAR[20:100, 45:55] = 20  # a 1
NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 255, (90, 90), np.uint8))


def read(image, kind="PNG", **options):
    return read_picture(io.BytesIO(saved(image, kind, **options)))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("L", "PNG"),
        ("1", "PNG"),
        ("P", "GIF"),
        ("LA", "PNG"),
        ("RGBA", "PNG"),
        ("CMYK", "JPEG"),
        ("I;16", "PNG"),
        ("I", "TIFF"),
        ("F", "TIFF"),
        ("L", "JPEG"),
        ("RGB", "BMP"),
        ("L", "PPM"),
    ],
)
def test_modes(mode, kind):
    image = Image.fromarray(BAR)
    image = Image.fromarray(BAR.astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    [digit] = digits_in(read(image, kind))
    left, top, right, bottom = digit.box
    assert abs(left - 45) <= 1 and abs(top - 20) <= 1 and abs(right - 55) <= 1 and abs(bottom - 100) <= 1


def test_the_box_is_in_pixels_of_the_file():
    large = Image.fromarray(BAR).resize((1000, 1200), Image.Resampling.NEAREST)
    for kind in ("PNG", "JPEG"):
        [digit] = digits_in(read(large, kind))
        assert np.abs(np.array(digit.box) - (450, 200, 550, 1000)).max() <= 6


def test_a_palette_with_a_transparent_colour():
    image = Image.fromarray(np.where(BAR > 100, 0, 1).astype(np.uint8), "L").convert("P")
    image.putpalette([0, 0, 0] * 256)
    [digit] = digits_in(read(image, "PNG", transparency=0))  # black on a transparent background
    assert abs(digit.box[0] - 45) <= 1


def test_not_a_picture(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "torn.png").write_bytes(saved(NOISE)[:2000])
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("text.png", "torn.png", "empty.png"):
        with pytest.raises(PictureError, match=name):
            read_picture(tmp_path / name)
    with pytest.raises(PictureError, match="there is no picture"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(PictureError, match="is a directory"):
        read_picture(tmp_path)


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"", "empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"hello", "not a picture of a known format"),
    ],
)
def test_kinds_that_are_not_read_are_named(head, word, tmp_path):
    (tmp_path / "file").write_bytes(head)
    for file in (tmp_path / "file", io.BytesIO(head)):
        with pytest.raises(PictureError, match=word):
            read_picture(file)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
def test_truncated_files_are_read_or_give_one_sentence(kind):
    whole = saved(NOISE, kind)
    for size in range(0, len(whole), max(1, len(whole) // 25)):
        with contextlib.suppress(PictureError):
            digits_in(read_picture(io.BytesIO(whole[:size])))


def test_the_first_frame_is_read():
    frames = [Image.fromarray(BAR), Image.new("L", (100, 120), 230), Image.new("L", (100, 120), 0)]
    picture = read(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert picture.several
    [digit] = digits_in(picture)
    assert abs(digit.box[0] - 45) <= 1


@pytest.mark.parametrize("side", [9_000, 20_000])
def test_too_many_pixels(side):
    # a few kilobytes that claim far more memory; the larger one exceeds Pillow's own limit
    with pytest.raises(PictureError, match="expected at most 64,000,000"):
        read(Image.new("1", (side, side)), "PNG")


def test_too_few_pixels():
    with pytest.raises(PictureError, match="too few"):
        read(Image.new("L", (3, 40)))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_paper(level):
    rng = np.random.default_rng(1)
    noisy = np.clip(level + 4 * rng.standard_normal((200, 160)), 0, 255).astype(np.uint8)
    shaded = np.clip(noisy * np.linspace(0.5, 1, 160), 0, 255).astype(np.uint8)
    for pixels in (np.full((200, 160), level, np.uint8), noisy, shaded):
        with pytest.raises(PictureError):
            digits_in(read(Image.fromarray(pixels)))


@pytest.mark.parametrize("shape", [(4, 2000), (2000, 4), (5, 9), (700, 900), (40, 1500)])
def test_any_picture_is_read_or_gives_one_sentence(shape):
    rng = np.random.default_rng(1)
    for pixels in (
        np.full(shape, 255),
        rng.integers(0, 256, shape),
        255 * (rng.random(shape) < 0.002),
        np.where(np.arange(shape[1]) < shape[1] // 3, 30, 220) * np.ones(shape),
        np.where((np.arange(shape[1]) // 7) % 2, 30, 220) * np.ones(shape),
    ):
        picture = read(Image.fromarray(np.uint8(pixels)))
        for many in (False, True):
            with contextlib.suppress(PictureError):
                digits_in(picture, many=many, likely=lambda image: np.full(10, 0.1))


def test_reading_without_pillow(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(UsageError, match=r"pip install .*\[pictures\]"):
        read_picture("x.png")
