"""Pictures with and without digits, under real-life conditions, each drawn from a seed.

A scene is a function of a 28x28 digit, its label and a generator; it returns the bytes of a picture file.
"""

import io
from collections.abc import Callable

import numpy as np
from inks import Rng, cropped, enlarged, penned, placed, tilted
from PIL import Image, ImageDraw, ImageFilter

Scene = Callable[[np.ndarray, int, Rng], bytes]
BLUE, RED = (90, 120, 190), (200, 90, 90)


# colours (rows, columns, 3), 0 to 255


def painted(cover: np.ndarray, ink: tuple[int, ...] = (30,) * 3, paper: tuple[int, ...] = (245,) * 3) -> np.ndarray:
    return cover[..., None] * np.array(ink, float) + (1 - cover[..., None]) * np.array(paper, float)


def ramp(shape: tuple[int, ...], rng: Rng) -> np.ndarray:
    """Return a plane of slopes in a random direction, 0 to 1."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape[:2]), indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    plane = np.cos(angle) * x + np.sin(angle) * y
    return (plane - plane.min()) / np.ptp(plane)


def lit(colours: np.ndarray, rng: Rng) -> np.ndarray:
    return colours * (0.3 + 0.7 * ramp(colours.shape, rng))[..., None]


def shadowed(colours: np.ndarray, rng: Rng, edge: float = 40, depth: float = 0.5) -> np.ndarray:
    """A lamp, and a shadow over part of the picture; its edge is 2 / ``edge`` of the picture wide."""
    light = 1 / (1 + np.exp(-edge * (ramp(colours.shape, rng) - rng.uniform(0.3, 0.7))))
    return colours * (1 - depth + depth * light)[..., None] * (0.75 + 0.25 * ramp(colours.shape, rng))[..., None]


def vignetted(colours: np.ndarray, rng: Rng) -> np.ndarray:
    """Corners darker than the middle."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in colours.shape[:2]), indexing="ij")
    far = (x - rng.uniform(-0.3, 0.3)) ** 2 + (y - rng.uniform(-0.3, 0.3)) ** 2
    return colours * (1 / (1 + rng.uniform(0.3, 1) * far))[..., None]


def folds(colours: np.ndarray, rng: Rng, depth: float = 0.15) -> np.ndarray:
    """Paper that is not flat: wide patches of different brightness."""
    coarse = Image.fromarray(rng.standard_normal((4, 4)).astype(np.float32))
    wide = np.asarray(coarse.resize(colours.shape[1::-1], Image.Resampling.BICUBIC))
    return colours * (1 - depth * (0.5 + 0.5 * np.tanh(wide)))[..., None]


def noisy(colours: np.ndarray, rng: Rng, sigma: float = 20) -> np.ndarray:
    return colours + sigma * rng.standard_normal(colours.shape)


def grainy(colours: np.ndarray, rng: Rng, sigma: float = 14, size: float = 1.0) -> np.ndarray:
    """Noise shared by neighbouring pixels, as on film and in enlarged photographs."""
    grain = Image.fromarray(rng.standard_normal(colours.shape[:2]).astype(np.float32))
    coarse = np.asarray(grain.resize([max(2, round(side / (1 + size))) for side in grain.size]).resize(grain.size))
    return colours + sigma * (coarse / coarse.std())[..., None]


def blurred(colours: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(picture(colours).filter(ImageFilter.GaussianBlur(radius)), float)


def ruled(
    colours: np.ndarray,
    rng: Rng,
    colour: tuple[int, ...] = BLUE,
    *,
    squared: bool = False,
    margin: bool = False,
    tilt: float = 0.015,
) -> np.ndarray:
    """Thin lines slightly askew, perhaps in both directions, perhaps a red line down the margin."""
    rows, columns = colours.shape[:2]
    image = picture(np.full_like(colours, 255))
    pen = ImageDraw.Draw(image)
    width = max(1, round(rng.uniform(0.003, 0.008) * min(rows, columns)))
    step = rng.uniform(0.12, 0.4) * min(rows, columns)
    lean = rng.uniform(-tilt, tilt) * columns
    for y in np.arange(rng.uniform(0, step), rows, step):
        pen.line([(0, y), (columns, y + lean)], fill=colour, width=width)
    if squared:
        for x in np.arange(rng.uniform(0, step), columns, step):
            pen.line([(x, 0), (x - lean, rows)], fill=colour, width=width)
    if margin:
        x = rng.uniform(0.02, 0.12) * columns
        pen.line([(x, 0), (x - lean, rows)], fill=RED, width=width)
    return colours * np.asarray(image, float) / 255  # the ink lies over the lines


def dusty(cover: np.ndarray, rng: Rng) -> np.ndarray:
    """A few specks, and a small mark away from the digit."""
    image = Image.fromarray(np.uint8(255 * cover))
    pen = ImageDraw.Draw(image)
    height = np.ptp(np.flatnonzero((cover > 0.5).any(axis=1))) + 1
    for size in (*rng.uniform(0.005, 0.02, 5), rng.uniform(0.03, 0.06)):
        y, x = rng.uniform(0, cover.shape[0]), rng.uniform(0, cover.shape[1])
        radius = max(0.5, size * height / 2)
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=220)
    return np.asarray(image, float) / 255


def picture(colours: np.ndarray) -> Image.Image:
    return Image.fromarray(np.uint8(colours.clip(0, 255)))


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# scenes


def of(change: Callable[[np.ndarray, Rng], np.ndarray], low: float = 3, high: float = 20, quality: int = 0) -> Scene:
    """A digit scaled up ``low`` to ``high`` times on paper, painted by ``change``; a JPEG of ``quality``, or a PNG."""

    def draw(digit: np.ndarray, label: int, rng: Rng) -> bytes:
        cover = placed(enlarged(digit, rng.uniform(low, high), rng.integers(2)), rng)
        image = picture(change(cover, rng))
        return saved(image, "JPEG", quality=quality) if quality else saved(image)

    return draw


def pen(low: float, high: float) -> Scene:
    """A newly written digit, with a pen of ``low`` to ``high`` hundredths of the digit's height."""

    def draw(digit: np.ndarray, label: int, rng: Rng) -> bytes:
        height = int(rng.integers(80, 500))
        cover = penned(label, height, max(1.0, rng.uniform(low, high) * height / 100), rng)
        return saved(picture(painted(placed(cover, rng))))

    return draw


def mode(change: Callable[[Image.Image, np.ndarray, Rng], bytes]) -> Scene:
    """A plain picture that ``change`` turns into a file of some kind."""

    def draw(digit: np.ndarray, label: int, rng: Rng) -> bytes:
        cover = placed(enlarged(digit, rng.uniform(3, 15), 1), rng)
        return change(picture(painted(cover)), cover, rng)

    return draw


def transparent(cover: np.ndarray, ink: int) -> Image.Image:
    pixels = np.full((*cover.shape, 4), ink, np.uint8)
    pixels[..., 3] = np.rint(255 * cover)
    return Image.fromarray(pixels)


def with_palette(image: Image.Image, cover: np.ndarray, rng: Rng) -> bytes:
    """Black, with a transparent palette colour that is also black."""
    places = Image.fromarray(np.uint8(cover > 0.5))
    places = places.convert("P")
    places.putpalette([0, 0, 0] * 256)
    return saved(places, transparency=0)


def turned(image: Image.Image, cover: np.ndarray, rng: Rng) -> bytes:
    """Stored as by a camera held in any orientation."""
    way = int(rng.integers(1, 9))
    undo = [None, 0, 3, 1, 5, 2, 6, 4]  # for each orientation the Image.Transpose that gives the stored picture
    if undo[way - 1] is not None:
        image = image.transpose(Image.Transpose(undo[way - 1]))
    exif = Image.Exif()
    exif[0x0112] = way
    return saved(image, "JPEG", exif=exif, quality=90)


def in_16_bits(image: Image.Image, cover: np.ndarray, rng: Rng) -> bytes:
    low = rng.uniform(0, 30_000)
    values = low + (1 - cover) * rng.uniform(500, 30_000)
    return saved(Image.fromarray(values.astype(np.uint16)))


def lost(digit: np.ndarray, label: int, rng: Rng) -> bytes:
    """A digit about 40 pixels high somewhere in a picture of 4000 x 3000."""
    cover = enlarged(digit, 2)
    colours = np.full((3000, 4000, 3), 235, np.uint8)
    top, left = int(rng.integers(100, 2800)), int(rng.integers(100, 3800))
    colours[top : top + cover.shape[0], left : left + cover.shape[1]] = painted(cover, paper=(235,) * 3)
    return saved(Image.fromarray(colours), "JPEG", quality=90)


def pixels_12(digit: np.ndarray, label: int, rng: Rng) -> bytes:
    """A picture of 12 x 12 pixels."""
    return saved(Image.fromarray(255 - digit[4:24, 4:24]).resize((12, 12), Image.Resampling.BOX))


def hairline(digit: np.ndarray, label: int, rng: Rng) -> bytes:
    """A pen of one pixel, a digit of 400."""
    return saved(picture(painted(placed(penned(label, 400, 1.0, rng), rng))))


def at_once(cover: np.ndarray, rng: Rng) -> np.ndarray:
    colours = ruled(painted(cover, (40, 50, 110), (240, 236, 220)), rng)
    return noisy(shadowed(colours, rng), rng, 8)


INKS = [((200, 30, 40), (240,) * 3), ((20, 60, 190), (250, 250, 235)), ((240, 220, 30), (250,) * 3)]
INKS += [((20, 130, 60), (235, 225, 200)), ((250, 250, 250), (30, 90, 60)), ((220, 60, 40), (60, 130, 70))]
WHITE, DARK = (245,) * 3, (40,) * 3

SCENES: dict[str, Scene] = {
    "as it is, 28 x 28": lambda digit, label, rng: saved(Image.fromarray(digit)),
    "dark on light": of(lambda cover, rng: painted(cover)),
    "light on dark": of(lambda cover, rng: painted(cover, (250,) * 3, (20,) * 3)),
    "faint ink": of(lambda cover, rng: noisy(painted(cover, (185,) * 3, (225,) * 3), rng, 3)),
    "very faint ink": of(lambda cover, rng: noisy(painted(cover, (205,) * 3, (230,) * 3), rng, 2)),
    "faint ink, gradient": of(lambda cover, rng: noisy(lit(painted(cover, (175,) * 3, (225,) * 3), rng), rng, 2)),
    "small, 20 to 60 pixels": of(lambda cover, rng: painted(cover), 1, 3),
    "12 x 12 pixels": pixels_12,
    "40 in 4000 x 3000 pixels": lost,
    "touching the border": lambda digit, label, rng: saved(
        picture(painted(cropped(enlarged(digit, rng.uniform(3, 20), rng.integers(2)), rng)))
    ),
    "much empty paper": lambda digit, label, rng: saved(
        picture(noisy(painted(placed(enlarged(digit, rng.uniform(2, 6), 1), rng, 6)), rng, 4))
    ),
    "gradient of light": of(lambda cover, rng: lit(painted(cover), rng)),
    "soft shadow": of(lambda cover, rng: noisy(shadowed(painted(cover), rng), rng, 3)),
    "hard shadow": of(lambda cover, rng: noisy(shadowed(painted(cover), rng, 300), rng, 3)),
    "hard deep shadow": of(lambda cover, rng: noisy(shadowed(painted(cover), rng, 300, 0.7), rng, 3)),
    "soft shadow, light on dark": of(lambda cover, rng: noisy(shadowed(painted(cover, WHITE, DARK), rng), rng, 3)),
    "hard shadow, light on dark": of(lambda cover, rng: noisy(shadowed(painted(cover, WHITE, DARK), rng, 300), rng, 3)),
    "vignette": of(lambda cover, rng: vignetted(painted(cover), rng)),
    "folds": of(lambda cover, rng: noisy(folds(painted(cover), rng), rng, 3)),
    "noise": of(lambda cover, rng: noisy(painted(cover), rng, 30)),
    "grain": of(lambda cover, rng: grainy(painted(cover), rng, 14, rng.uniform(0, 3))),
    "blur": of(lambda cover, rng: blurred(painted(cover), 0.012 * max(cover.shape))),
    "JPEG, quality 10": of(lambda cover, rng: painted(cover), 3, 20, 10),
    "JPEG, quality 30": of(lambda cover, rng: painted(cover), 3, 20, 30),
    "coloured ink": of(lambda cover, rng: painted(cover, *INKS[rng.integers(len(INKS))])),
    "ruled, blue": of(lambda cover, rng: ruled(painted(cover), rng)),
    "ruled, red": of(lambda cover, rng: ruled(painted(cover), rng, RED)),
    "squared, blue": of(lambda cover, rng: ruled(painted(cover), rng, squared=True)),
    "squared, red": of(lambda cover, rng: ruled(painted(cover), rng, RED, squared=True)),
    "ruled, with a margin": of(lambda cover, rng: ruled(painted(cover, (40, 50, 110)), rng, margin=True)),
    "dust and a mark": of(lambda cover, rng: painted(dusty(cover, rng))),
    "perspective": of(lambda cover, rng: painted(tilted(cover, rng))),
    "photo: all at once": of(at_once, quality=75),
    "RGBA, black": mode(lambda image, cover, rng: saved(transparent(cover, 0))),
    "RGBA, white": mode(lambda image, cover, rng: saved(transparent(cover, 255))),
    "LA": mode(lambda image, cover, rng: saved(transparent(cover, 0).convert("LA"))),
    "palette, transparent": mode(with_palette),
    "turned by the camera": mode(turned),
    "16 bits": mode(in_16_bits),
    "1 bit": mode(lambda image, cover, rng: saved(image.convert("1"))),
    "CMYK": mode(lambda image, cover, rng: saved(image.convert("CMYK"), "JPEG")),
    "pen: 1 pixel of 400": hairline,
    "pen: hairline": pen(0.6, 2),
    "pen: thin": pen(2, 5),
    "pen: usual": pen(7, 15),
    "pen: thick": pen(18, 28),
}


def paper(change: Callable[[np.ndarray, Rng], np.ndarray], quality: int = 0) -> Scene:
    """A sheet without a digit."""

    def draw(digit: np.ndarray, label: int, rng: Rng) -> bytes:
        shape = rng.integers(60, 500, 2)
        tint = rng.uniform([40, 40, 40], [250, 250, 250]) if rng.random() < 0.5 else np.full(3, rng.uniform(200, 250))
        image = picture(change(np.ones((*shape, 1)) * tint, rng))
        return saved(image, "JPEG", quality=quality) if quality else saved(image)

    return draw


# pictures without a digit: each must give an error, not a guess
BLANKS: dict[str, Scene] = {
    "blank: even": paper(lambda colours, rng: colours),
    "blank: noise": paper(lambda colours, rng: noisy(colours, rng, rng.uniform(1, 30))),
    "blank: grain": paper(lambda colours, rng: grainy(colours, rng, rng.uniform(2, 14), rng.uniform(0, 3))),
    "blank: gradient": paper(lambda colours, rng: noisy(lit(colours, rng), rng, 3)),
    "blank: soft shadow": paper(lambda colours, rng: noisy(shadowed(colours, rng, rng.uniform(5, 60)), rng, 3)),
    "blank: hard shadow": paper(lambda colours, rng: noisy(shadowed(colours, rng, 300), rng, 3)),
    "blank: vignette": paper(lambda colours, rng: noisy(vignetted(colours, rng), rng, 3)),
    "blank: folds": paper(lambda colours, rng: noisy(folds(colours, rng, 0.4), rng, 3)),
    "blank: JPEG": paper(lambda colours, rng: noisy(lit(colours, rng), rng, 5), 20),
    "blank: ruled": paper(lambda colours, rng: noisy(ruled(colours, rng), rng, 3)),
    "blank: squared": paper(lambda colours, rng: noisy(ruled(colours, rng, squared=True), rng, 3)),
}
