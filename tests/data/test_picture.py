"""Training and prediction read pictures with the same code; malicious files are refused in time."""

import io
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="the extra `pictures` (Pillow) is not installed")

from scenes import saved

import distlenet
from distlenet.data.file.writer import silent
from distlenet.data.sources import picture_decoder
from distlenet.data.sources.folder import read_folder
from distlenet.data.sources.picture import DECODER, ImageProcess, NotDecoded, read_image, read_pixels
from distlenet.pictures import digits_in, read_picture

ONE = np.zeros((120, 100), bool)  # a 1
ONE[20:100, 45:55] = True
DARK = np.where(ONE, 20, 230).astype(np.uint8)
LIGHT = 255 - DARK
COVER = np.where(ONE, 255, 0).astype(np.uint8)


def filled(level):
    return np.full(ONE.shape, level, np.uint8)


MASK = ONE.astype(np.uint8)
PICTURES = {  # name: (the file, expected grey or None if only the agreement matters)
    "grey.png": (Image.fromarray(DARK), DARK),
    "grey.tif": (Image.fromarray(DARK), DARK),
    "bits.png": (Image.fromarray(ONE), COVER),
    "colour.png": (Image.fromarray(np.dstack([DARK] * 3)), DARK),
    "red.bmp": (Image.fromarray(np.dstack([DARK, filled(0), filled(0)])), None),
    "palette.gif": (Image.fromarray(DARK).convert("P"), DARK),
    "deep.png": (Image.fromarray(DARK.astype(np.uint16) * 257), DARK),
    "12 bits.png": (Image.fromarray(DARK.astype(np.uint16) * 16), None),
    "dark deep.tif": (Image.fromarray(30_000 + 1_000 * ONE.astype(np.uint16)), COVER),
    "32 bits.tif": (Image.fromarray(DARK.astype(np.int32) * 100_000), None),
    "float.tif": (Image.fromarray(DARK.astype(np.float32) / 255), DARK),
    "signed.tif": (Image.fromarray(np.where(ONE, 1.5, -1.5).astype(np.float32)), COVER),
    "mask.png": (Image.fromarray(MASK), COVER),
    "mask of 0 and 9.png": (Image.fromarray(9 * MASK), 135 * MASK),
    "16 levels.png": (Image.fromarray(np.where(ONE, 16, 1).astype(np.uint8)), np.where(ONE, 240, 15)),
    "16 deep levels.tif": (Image.fromarray(np.where(ONE, 16, 1).astype(np.uint16)), np.where(ONE, 255, 16)),
    "infinite.tif": (
        Image.fromarray(np.where(ONE, 0.9, np.where(np.arange(100) == 99, -np.inf, 0.1)).astype(np.float32)),
        None,
    ),
    "mask.bmp": (Image.fromarray(np.dstack([MASK] * 3)), COVER),
    "mask.tif": (Image.fromarray(MASK.astype(np.uint16)), COVER),
    "float mask.tif": (Image.fromarray(MASK.astype(np.float32)), COVER),
    "grey mask.png": (Image.merge("LA", [Image.fromarray(MASK), Image.fromarray(filled(255))]), COVER),
    "alpha of 0 and 1.png": (Image.fromarray(np.dstack([filled(0)] * 3 + [MASK])), 255 - COVER),
    "black ink.png": (Image.fromarray(np.dstack([filled(0)] * 3 + [COVER])), 255 - COVER),
    "white ink.png": (Image.fromarray(np.dstack([filled(255)] * 3 + [COVER])), COVER),
    "white ink.webp": (Image.fromarray(np.dstack([filled(255)] * 3 + [COVER])), None),
    "white grey ink.png": (Image.merge("LA", [Image.fromarray(filled(255)), Image.fromarray(COVER)]), COVER),
    "opaque.png": (Image.fromarray(np.dstack([LIGHT] * 3 + [filled(255)])), LIGHT),
    "print.jpg": (Image.fromarray(DARK).convert("CMYK"), None),
    "print.tif": (Image.fromarray(DARK).convert("CMYK"), DARK),
    "lab.tif": (Image.merge("LAB", [Image.fromarray(DARK), *[Image.fromarray(filled(128))] * 2]), DARK),
    "plain.ppm": (Image.fromarray(DARK), DARK),
}


def written(folder, name):
    image, expected = PICTURES[name]
    options = {"lossless": True} if name.endswith("webp") else {}
    image.save(folder / name, **options)
    return folder / name, expected


@pytest.mark.parametrize("name", PICTURES)
def test_training_and_predicting_read_a_picture_alike(name, tmp_path):
    path, expected = written(tmp_path, name)
    grey, _ = read_image(path, ONE.shape)
    if expected is not None:
        np.testing.assert_allclose(grey.astype(int), expected, atol=1)
    picture = read_picture(path)
    colours = Image.fromarray(np.rint(255 * picture.colours).astype(np.uint8))
    np.testing.assert_array_equal(np.asarray(colours.convert("L")), grey)
    [digit] = digits_in(picture)
    assert np.abs(np.array(digit.box) - (45, 20, 55, 100)).max() <= 1


def test_a_transparent_key_or_palette_colour(tmp_path):
    white = Image.fromarray(np.where(ONE, 255, 7).astype(np.uint8))
    white.save(tmp_path / "key.png", transparency=7)
    palette = white.convert("P")
    palette.save(tmp_path / "palette.gif", transparency=palette.getpixel((0, 0)))
    for name in ("key.png", "palette.gif"):
        assert read_pixels(tmp_path / name).paper == 0
        np.testing.assert_array_equal(read_pixels(tmp_path / name).grey, COVER)


def test_strokes_on_a_transparent_background_have_one_polarity(tmp_path):
    """If some classes are drawn in white and others in black, the network must not learn the colour of the pen."""
    for name, level in (("one", 255), ("other", 0), ("third", 60)):
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.fromarray(np.dstack([filled(level)] * 3 + [COVER])).save(tmp_path / name / f"{number}.png")
    dataset = read_folder(tmp_path, silent, size=ONE.shape)
    for image in dataset.train[0]:
        assert image[5, 5] == 0 and image[60, 50] > 150
    assert "where the ink is dark, inverted" in dataset.source
    kept = read_folder(tmp_path, silent, size=ONE.shape, ink="light")
    assert {*kept.train[0][:, 5, 5].tolist()} == {0, 255}


def test_blank_pictures_stay_blank(tmp_path):
    for level, image in (
        (255, Image.new("RGBA", (30, 30), (0, 0, 0, 0))),
        (0, Image.new("L", (30, 30), 0)),
        (255, Image.new("I;16", (30, 30), 65535)),
    ):
        image.save(tmp_path / "blank.png")
        assert set(read_pixels(tmp_path / "blank.png").values.ravel().tolist()) == {level}


def test_pictures_with_broken_exif_are_read(tmp_path):
    Image.fromarray(DARK).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05garbage")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png").grey, DARK)


# Malicious files


def test_only_one_call_opens_pictures_and_its_formats_run_no_programs():
    root = Path(distlenet.__file__).parent
    opening = [path.name for path in root.rglob("*.py") if re.search(r"\bImage\.open\(", path.read_text())]
    assert opening == ["picture_decoder.py"]
    assert all("formats=formats" in line for line in (root / "data/sources/picture_decoder.py").read_text().splitlines()
               if "Image.open(" in line)  # fmt: skip
    assert not {"EPS", "WMF", "FPX", "MIC", "MPEG", "HDF5", "GRIB", "BUFR", "FITS"} & set(picture_decoder.FORMATS)


@pytest.mark.parametrize(
    "head", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\xc5\xd0\xd3\xc6" + bytes(99)]
)
def test_no_program_is_started(head, tmp_path, monkeypatch):
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "a.png").write_bytes(head)
    decoders = ImageProcess()
    with pytest.raises(NotDecoded, match="EPS or PostScript"):
        decoders.decode(head)
    decoders.close()
    assert not (tmp_path / "ran").exists()


def test_frames_are_not_counted(monkeypatch):
    """Each of these formats would walk through the whole file to count them."""
    from PIL import GifImagePlugin, TiffImagePlugin

    films, frames = [], [Image.fromarray(DARK), Image.fromarray(LIGHT), Image.fromarray(DARK)]
    for kind in ("GIF", "TIFF"):
        for count in (1, 3):
            films.append((saved(frames[0], kind, save_all=True, append_images=frames[1:count]), count))
    for kind in (GifImagePlugin.GifImageFile, TiffImagePlugin.TiffImageFile):
        monkeypatch.setattr(kind, "n_frames", property(lambda self: self._n_frames or pytest.fail("counted")))
    for film, count in films:
        facts, pixels = picture_decoder.decode(film)
        assert facts["several"] == (count > 1)
        assert np.abs(np.frombuffer(pixels, np.uint8).mean() - DARK.mean()) < 1


def test_a_tiff_of_many_directories_that_form_a_circle():
    tags = [(256, 30), (257, 30), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 30), (279, 900)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries
    start = 8 + 900
    circle = b"II*\0" + struct.pack("<I", start) + b"\xff" * 900
    for number in range(1000):
        follows = start + (number + 1) % 1000 * (len(directory) + 4)
        circle += directory + struct.pack("<I", follows)
    pixels = read_pixels(io.BytesIO(circle))
    assert pixels.several and (pixels.grey == 255).all()


def decoder(folder, body):
    """Write a decoder that does ``body`` instead of decoding."""
    path = folder / "decoder.py"
    path.write_text(
        "import importlib.util, os, signal, time\n"
        f"spec = importlib.util.spec_from_file_location('real', {picture_decoder.__file__!r})\n"
        "real = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(real)\n"
        "decode, real.SECONDS = real.decode, 0.2\n"
        f"def harm(content):\n    {body}\n    return decode(content)\n"
        "real.decode = harm\nreal.main()\n"
    )
    return path


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("while True: pass", "takes too long to decode"),
        ("int('9' * 4300) ** 100000", "takes too long to decode"),  # inside one call of C code
        ("time.sleep(60)", "takes too long to decode"),
        ("bytearray(2**31)", "more than 1 GiB of memory"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"crashes the decoder \(signal 11\)"),
        ("os._exit(3)", r"crashes the decoder \(exit code 3\)"),
        ("os.write(3, b'9' * 99)", "decoder.s answer is invalid"),
        ("raise RuntimeError", r"is not a readable picture \(RuntimeError\)"),
        ("os.write(os.open('written', os.O_CREAT | os.O_WRONLY), b'x')", "is not a readable picture .*too large"),
    ],
)
def test_after_any_failure_of_the_decoder_the_next_picture_is_read(body, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = saved(Image.fromarray(DARK))
    decoders = ImageProcess(decoder(tmp_path, body), patience=1.0 if "sleep" in body else 60.0)
    with pytest.raises(NotDecoded, match=words):
        decoders.decode(content)
    decoders.close()
    decoders.program = DECODER
    facts, pixels = decoders.decode(content)
    np.testing.assert_array_equal(pixels, DARK)
    assert facts["size"] == [100, 120]
    decoders.close()
    assert not (tmp_path / "written").exists() or not (tmp_path / "written").read_bytes()


def test_modules_of_the_working_directory_are_not_imported(tmp_path, monkeypatch):
    for name in ("json", "PIL", "numpy", "signal"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w')\nraise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    decoders = ImageProcess()
    decoders.decode(saved(Image.fromarray(np.dstack([filled(0)] * 3 + [COVER]))))
    decoders.close()
    assert not (tmp_path / "ran").exists()


def test_too_large_a_file(tmp_path):
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(257 * 2**20)
    with pytest.raises(NotDecoded, match="more than 256 MiB"):
        read_pixels(tmp_path / "large.png")


@pytest.mark.parametrize(("form", "place"), [("PNG", -30), ("PNG", -60), ("JPEG2000", None), ("TIFF", -4)])
def test_damaged_pixels_are_refused_not_read_as_black(tmp_path, form, place):
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40), np.uint8))
    content = bytearray(saved(noise, form, **({"compression": "tiff_deflate"} if form == "TIFF" else {})))
    if form == "PNG":
        content[place] ^= 0xFF
    elif form == "TIFF":
        content[content.index(b"x\x9c") + 200] ^= 0xFF
    else:
        del content[len(content) // 2 :]
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(NotDecoded, match="is not a readable picture"):
        read_pixels(tmp_path / "a")
