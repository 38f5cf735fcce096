"""HEIC, the format of phones: read upright by pillow-heif, within the limits of every other picture."""

import io
import struct

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="the extra `pictures` (Pillow) is not installed")
pillow_heif = pytest.importorskip("pillow_heif", reason="the extra `heic` (pillow-heif) is not installed")

from scenes import saved

from distlenet.data.sources import picture
from distlenet.data.sources.picture import NotDecoded, read_pixels

TALL = np.full((80, 60), 230, np.uint8)
TALL[:20, :30] = 20  # the dark corner says which way is up


@pytest.fixture(autouse=True, scope="module")
def heif():
    pillow_heif.register_heif_opener()  # here only to write files; the decoder process registers it itself


def heic(pixels=TALL, **options):
    return saved(Image.fromarray(pixels), "HEIF", quality=90, **options)


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def read(content):
    return read_pixels(io.BytesIO(content))


@pytest.mark.parametrize(("orientation", "expected"), [(1, TALL), (3, TALL[::-1, ::-1]), (6, np.rot90(TALL, -1))])
def test_a_photograph_is_read_upright(orientation, expected):
    """The camera's rotation is a box of the file (irot); the EXIF data repeat it, and must not rotate it again."""
    content = heic(exif=turned(orientation))
    assert (b"irot" in content) == (orientation != 1)
    found = read(content).grey
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.astype(int), expected, atol=12)


def test_tiles_levels_and_transparency():
    wide = np.tile(TALL, (2, 3))
    tiled = saved(Image.fromarray(wide), "HEIF", quality=90, tile_size=64)
    assert b"grid" in tiled
    np.testing.assert_allclose(read(tiled).grey.astype(int), wide, atol=12)
    cover = np.where(TALL < 100, 255, 0).astype(np.uint8)
    clear = read(heic(np.dstack([np.zeros_like(TALL)] * 3 + [cover])))
    assert clear.paper == 255
    np.testing.assert_allclose(clear.grey.astype(int), 255 - cover, atol=12)


def test_of_several_images_the_primary_one_is_read():
    other = Image.fromarray(np.full((40, 90), 128, np.uint8))
    content = heic(save_all=True, append_images=[other, other], primary_index=0)
    assert read(content).values.shape[:2] == TALL.shape
    content = saved(other, "HEIF", save_all=True, append_images=[Image.fromarray(TALL)], primary_index=1)
    assert read(content).values.shape[:2] == TALL.shape


def test_limits_hold_before_anything_is_decoded():
    content = heic(np.tile(TALL, (8, 8)))
    before = struct.pack(">4sIII", b"ispe", 0, 480, 640)
    assert before in content
    for size, words in (((9000, 9000), "9,000 x 9,000 pixels, expected at most"), ((10, 10), "Security limit")):
        with pytest.raises(NotDecoded, match=words):
            read(content.replace(before, struct.pack(">4sIII", b"ispe", 0, *size)))


def test_damaged_files_get_a_sentence_or_are_read():
    content, rng = heic(exif=turned(6)), np.random.default_rng(1)
    for length in rng.integers(12, len(content), 20):
        with pytest.raises(NotDecoded, match=r"damaged HEIC|not a readable picture"):
            read(content[:length])
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(8, len(content), 3):
            damaged[place] ^= 1 << rng.integers(8)
        try:
            assert read(bytes(damaged)).values.dtype == np.uint8
        except NotDecoded as reason:
            assert "crashes" not in str(reason) and "too long" not in str(reason)


@pytest.mark.parametrize("brands", [b"heic\0\0\0\0mif1heic", b"mif1\0\0\0\0mif1heic"])
def test_without_the_library_the_command_that_installs_it_is_named(brands, monkeypatch):
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    with pytest.raises(NotDecoded, match=r"is HEIC; reading it needs pillow-heif.*pip install .*\[heic\]"):
        read(b"\0\0\0\x18ftyp" + brands + bytes(99))
    with pytest.raises(NotDecoded, match="a film"):
        read(b"\0\0\0\x18ftypisom\0\0\0\0mp42isom" + bytes(99))
