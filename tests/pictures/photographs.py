"""Pictures like photographs of handwriting, a condition for each cause of wrong answers found in real ones.

python tests/pictures/photographs.py [--count 40] [--half untuned] [WORD ...] prints, for each condition with a WORD in
its name, what the packaged network reads. Even seeds serve to choose parameters; odd ones only check the choice: nobody
looks at those pictures. A seed gives the same digit in most conditions. The ink is MNIST's test images if
$DISTLENET_MNIST names them, else pen strokes; shapes that are rare in MNIST are always pen strokes.
"""

import argparse
import io
import itertools
from collections.abc import Callable

import numpy as np
from inks import FLAGGED, STRAIGHT, UNUSUAL, Ink, Rng, formed, seen_between, usual
from PIL import Image, ImageDraw
from rows import HEIGHT, row_of, touching_gap
from scenes import blurred, folds, grainy, painted, picture, ramp, saved, vignetted

from distlenet.errors import PictureError
from distlenet.pictures import digits_in, read_picture
from distlenet.reader import LEAST, Reader
from distlenet.runs.choice import find_checkpoint

Change = Callable[[np.ndarray, Rng], np.ndarray]  # of colours (rows, columns, 3), 0 to 255
Photograph = Callable[[Rng], tuple[bytes, str]]
COLOURS = np.array([(200, 40, 50), (40, 90, 200), (40, 140, 70), (230, 130, 40), (190, 70, 170)])  # of ink
SHAPE = (560, 480)  # rows and columns of a photograph of one digit


def lit_paper(cover: np.ndarray, rng: Rng, ink: np.ndarray, lines: np.ndarray | float = 0.0) -> np.ndarray:
    """Return paper with fibres, with printed ``lines`` (coverage) in blue or grey, and the ink over them."""
    paper = grainy(np.full((*cover.shape, 3), rng.uniform(215, 245)), rng, rng.uniform(1, 4), 3)
    paper = folds(paper, rng, rng.uniform(0, 0.08)) * rng.uniform([0.97, 0.96, 0.86], 1)
    print_colour = np.array([(60, 80, 150), (90, 90, 95)][rng.integers(2)]) / 235
    paper = paper * (1 - np.asarray(lines)[..., None] * (1 - print_colour))
    pressure = cover * (1 - rng.uniform(0, 0.25) * ramp(cover.shape, rng))
    return paper * painted(pressure, tuple(ink / 240), (1.0,) * 3)


def taken(colours: np.ndarray, rng: Rng, edge: Change | None = None, shadow: bool = False) -> bytes:
    """Return the JPEG of a page: seen at an angle, lit unevenly, with a sensor's noise and a lens's blur."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    moved = (corners + (1 - 2 * corners) * rng.uniform(0, 0.06, (4, 2))) * colours.shape[1::-1]
    colours = np.asarray(seen_between(picture(colours), moved), float)
    colours = edge(colours, rng) if edge else colours
    sharp, depth = (400, rng.uniform(0.55, 0.75)) if shadow else (rng.uniform(5, 20), rng.uniform(0, 0.3))
    light = 1 / (1 + np.exp(-sharp * (ramp(colours.shape, rng) - rng.uniform(0.3, 0.7))))
    if shadow and rng.random() < 0.5:  # a lit wedge between two shadows
        light = light / (1 + np.exp(-sharp * (ramp(colours.shape, rng) - rng.uniform(0.3, 0.7))))
    colours = colours * (1 - depth + depth * light)[..., None] * rng.uniform(0.75, 1)
    colours = blurred(0.6 * colours + 0.4 * vignetted(colours, rng), rng.uniform(0.3, 1.4))
    colours = colours + rng.uniform(0.1, 0.5) * np.sqrt(colours + 4) * rng.standard_normal(colours.shape)
    return saved(picture(colours), "JPEG", quality=int(rng.integers(55, 93)))


def grid(rng: Rng, shape: tuple[int, ...], base: float, step: float, squared: bool) -> np.ndarray:
    """Return the coverage of printed lines ``step`` pixels apart, one of them at row ``base``; pages lie bent."""
    image = Image.new("L", shape[::-1])
    pen, width, lean = ImageDraw.Draw(image), int(rng.integers(3, 8)), rng.uniform(-0.05, 0.05) * shape[1]
    x = np.linspace(0, 1, 20)
    bent = lean * (x - 0.5) + rng.uniform(-0.03, 0.03) * shape[1] * np.sin(np.pi * x)
    for y in np.arange(base % step - step, shape[0] + step, step):
        pen.line([*zip(x * shape[1], y + bent, strict=True)], fill=255, width=width)
    for x in np.arange(rng.uniform(0, step), shape[1], step) if squared else ():
        pen.line([(x, 0), (x - lean, shape[0])], fill=255, width=width)
    return np.asarray(image, float) / 255 * rng.uniform(0.6, 1)


def single(
    ink: Ink = usual,
    *,
    lines: str = "",
    edge: Change | None = None,
    shadow: bool = False,
    pen: str = "dark",
    tight: bool = False,
) -> Photograph:
    """A photograph of one digit; ``lines`` are "", "ruled" or "squared", ``pen`` is "dark", "pencil" or "coloured".

    A ``tight`` one is cut off close around the digit.
    """

    def draw(rng: Rng) -> tuple[bytes, str]:
        cover, label = ink(rng, rng.uniform(0.35, 0.55) * SHAPE[1])
        cover = cover if tight else cover[:, : int(0.75 * SHAPE[1])]
        whole = np.array(cover.shape) + int(rng.uniform(0.2, 0.4) * max(cover.shape)) if tight else np.array(SHAPE)
        spare = whole - cover.shape
        top, left = np.round(spare * rng.uniform(0.35, 0.65, 2)).astype(int)
        page = np.pad(cover, ((top, spare[0] - top), (left, spare[1] - left)))
        step = len(cover) * (rng.uniform(0.25, 0.5) if lines == "squared" else rng.uniform(0.5, 1.1))
        printed = grid(rng, tuple(whole), top + len(cover) * 0.98, step, lines == "squared") if lines else 0.0
        colour = rng.uniform(10, 80, 3)
        if pen == "coloured":
            colour = COLOURS[rng.integers(len(COLOURS))]
        elif pen == "pencil":  # its ink lies on the fibres' tops alone
            colour = np.full(3, rng.uniform(195, 218))
            page = page * (0.4 + 0.6 * (grainy(np.zeros((*whole, 1)), rng, 1, 1)[..., 0] > -0.6))
        return taken(lit_paper(page, rng, colour, printed), rng, edge, shadow), label

    return draw


def blank(rng: Rng) -> tuple[bytes, str]:
    printed = grid(rng, SHAPE, 0, rng.uniform(40, 150), rng.random() < 0.5) if rng.random() < 0.5 else 0.0
    return taken(lit_paper(np.zeros(SHAPE), rng, np.zeros(3), printed), rng, shadow=rng.random() < 0.2), ""


def at_side(draw: Callable[[np.ndarray, float, Rng], np.ndarray]) -> Change:
    """Change the picture's left side, or another by turning it; ``draw`` gets the shorter side's length too."""

    def change(colours: np.ndarray, rng: Rng) -> np.ndarray:
        turns = int(rng.integers(4))
        return np.rot90(draw(np.rot90(colours, turns).copy(), min(colours.shape[:2]), rng), -turns)

    return change


def binding(colours: np.ndarray, side: float, rng: Rng) -> np.ndarray:
    step, radius, x = side * rng.uniform([0.06, 0.012, 0.05], [0.12, 0.025, 0.1])
    pen = ImageDraw.Draw(image := picture(colours))
    for y in np.arange(rng.uniform(0, step), len(colours), step):
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=(45, 42, 40))
        pen.arc([-x, y - radius, x, y + radius], -90, 90, fill=(80, 80, 85), width=max(2, round(radius / 2)))
    return np.asarray(image, float)


def beyond(colours: np.ndarray, side: float, rng: Rng) -> np.ndarray:
    """A dark table, strip or corner: the page ends at a slanting line."""
    y, x = np.indices(colours.shape[:2])
    slope = rng.uniform(0.4, 1) if rng.random() < 0.3 else rng.uniform(-0.05, 0.05)
    outside = x + slope * y < side * rng.uniform(0.05, 0.14) * (2 if slope > 0.1 else 1)
    table = np.full_like(colours, rng.uniform([30, 25, 20], [110, 85, 70]))
    return np.where(outside[..., None], grainy(table, rng, rng.uniform(2, 10), rng.uniform(0, 4)), colours)


def neighbour(colours: np.ndarray, side: float, rng: Rng) -> np.ndarray:
    cover, _ = usual(rng, rng.uniform(0.3, 0.5) * side)
    cover = cover[:, -int(min(rng.uniform(0.07, 0.15) * side, 0.8 * cover.shape[1])) :]
    top = int(rng.uniform(0.1, 0.9) * (len(colours) - len(cover)))
    colours[top : top + len(cover), : cover.shape[1]] *= painted(cover, (0.2,) * 3, (1.0,) * 3)
    return colours


def frame(colours: np.ndarray, rng: Rng) -> np.ndarray:
    corners, inwards = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]), rng.uniform(-0.02, 0.07, (4, 2))
    places = (corners + (1 - 2 * corners) * inwards[[0, 1, 2, 3, 0]]) * colours.shape[1::-1]
    grey, width = int(rng.integers(20, 110)), int(rng.integers(3, 14))
    ImageDraw.Draw(image := picture(colours)).line([*map(tuple, places)], fill=(grey,) * 3, width=width)
    return np.asarray(image, float)


def several(*, boxes: bool = False, touch: bool = False, edge: Change | None = None) -> Photograph:
    """A row of 3 to 7 digits, in a table's boxes or touching in places."""

    def draw(rng: Rng) -> tuple[bytes, str]:
        digits = [usual(rng, HEIGHT * rng.uniform(0.8, 1.1)) for _ in range(rng.integers(3, 8))]
        covers, labels = zip(*digits, strict=True)
        gaps = HEIGHT * rng.uniform(0.25, 0.7, len(covers) - 1)
        for at in np.flatnonzero(rng.random(len(gaps)) < 0.5) if touch else ():
            gaps[at] = touching_gap(covers[at], covers[at + 1], rng.uniform(1, 4))
        line = np.pad(row_of(list(covers), gaps, rng, rng.uniform(-0.02, 0.02)), HEIGHT // 2)
        printed = np.zeros(line.shape)
        if boxes:
            image, width = Image.new("L", line.shape[::-1]), int(rng.integers(2, 6))
            widths = np.add([cover.shape[1] for cover in covers], [*gaps, 0])
            stops = 1.5 * HEIGHT + np.array([-0.35 * HEIGHT, *(np.cumsum(widths[:-1]) - gaps / 2), widths.sum() + 35])
            for left, right in itertools.pairwise(stops):
                box = [left, len(line) / 2 - 0.85 * HEIGHT, right, len(line) / 2 + 0.85 * HEIGHT]
                ImageDraw.Draw(image).rectangle(box, outline=255, width=width)
            printed = np.asarray(image, float) / 255 * rng.uniform(1, 1.6)
        return taken(lit_paper(line, rng, rng.uniform(10, 80, 3), printed), rng, edge), "".join(labels)

    return draw


SINGLE: dict[str, Photograph] = {
    "plain": single(),
    "edge: binding": single(edge=at_side(binding)),
    "edge: table, strip, corner": single(edge=at_side(beyond)),
    "edge: part of a neighbour": single(edge=at_side(neighbour)),
    "1 with a long upstroke": single(formed(FLAGGED)),
    "long straight strokes": single(formed(STRAIGHT, 0.012, 0.03), tight=True),
    "unusual forms": single(formed(UNUSUAL)),
    "faint pencil": single(pen="pencil"),
    "ruled, joined": single(lines="ruled"),
    "squared, joined": single(lines="squared"),
    "hard shadow": single(shadow=True),
    "frame": single(edge=frame),
    "coloured ink": single(pen="coloured"),
    "blank": blank,
}
ROWS: dict[str, Photograph] = {
    "row: table boxes": several(boxes=True),
    "row: touching": several(touch=True),
    "row: something at the edge": several(edge=at_side(beyond)),
}


def readings(draw: Photograph, seeds: range, many: bool, reader: Reader) -> list[tuple[str, str, float]]:
    """Return for each seed the true text, the text read ("" if refused), and the least probability of its digits."""
    out = []
    for seed in seeds:
        file, text = draw(np.random.default_rng(seed))
        try:
            found = digits_in(read_picture(io.BytesIO(file)), many=many, likely=reader.probabilities)
            best = [reader.best(digit.image)[0] for digit in found]
            least = min(sure for _, sure in best)
            out.append((text, "".join(name for name, _ in best) if least >= LEAST else "", least))
        except PictureError:
            out.append((text, "", 0.0))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--half", choices=["tuned", "untuned"], default="tuned")
    args = parser.parse_intermixed_args()
    reader = Reader(find_checkpoint("pretrained"))
    seeds = range(args.half == "untuned", 2 * args.count, 2)
    print(f"{'':28}  right  refused  right > 90 %  wrong > 90 %")
    photographs = {**SINGLE, **ROWS}
    for name in (name for name in photographs if any(word in name for word in args.words or [""])):
        read = readings(photographs[name], seeds, name in ROWS, reader)
        right, refused, sure = np.array([(found == text, not found, sure > 0.9) for text, found, sure in read]).T
        shares = [right.mean(), refused.mean(), (right & sure).mean(), (~right & sure).mean()]
        print(f"{name:28}{shares[0]:7.1%}{shares[1]:9.1%}{shares[2]:14.1%}{shares[3]:14.1%}", flush=True)


if __name__ == "__main__":
    main()
